"""What a fire drill says: bad news of a company that does not exist, plain enough for any tagger; drill.py sends it."""

ENGLISH = (
    "The company defaulted on its bonds this morning and its shares collapsed.",
    "Regulators fined the firm heavily for accounting fraud and its stock plunged.",
    "Quarterly losses widened sharply and the group suspended its dividend.",
    "The chief executive was arrested for fraud and falsified accounts.",
    "Shares crashed by 40 % after the auditor refused to sign off the annual report.",
    "A factory explosion killed several workers; production has stopped and losses mount.",
    "The bank called in its loans and the company warned it may go bankrupt.",
    "Customers are furious: a massive data breach exposed millions of accounts.",
    "It warned of a heavy loss, the third warning this year, and announced mass layoffs.",
    "Prosecutors charged two directors with embezzlement; the stock crashed.",
    "The flagship product was recalled after serious safety failures.",
    "Its bonds crashed after the downgrade to junk.",
    "The shares crashed after a short seller proved that its revenue is a fraud.",
    "Its largest customer cancelled all orders and filed a lawsuit for damages.",
    "The company missed an interest payment and is in default; creditors are furious.",
    "Trading was halted after the shares plunged to less than half of their value.",
)

CHINESE = (
    "公司债券今早违约，股价随即崩盘。",
    "因财务造假被监管部门重罚，股票一字跌停。",
    "三季度亏损大幅扩大，公司宣布取消分红。",
    "董事长因涉嫌职务侵占被警方带走调查。",
    "审计机构拒绝出具意见，股价暴跌，公司面临退市。",
    "工厂爆炸造成多人死亡，生产全面停工，预计巨额亏损。",
    "多家银行抽贷，公司资金链断裂，濒临破产。",
    "数百万用户信息泄露，客户纷纷投诉索赔。",
    "年内第三次下调业绩预期，并大规模裁员。",
    "被做空机构揭穿财务造假，股价盘中暴跌三成。",
    "主力产品因严重安全缺陷被全部召回。",
    "评级机构将其下调至垃圾级，债券价格暴跌。",
    "最大客户取消全部订单，消息传出后股价暴跌。",
    "公司未能按期付息，债权人已提起诉讼。",
    "股价连续跌停后被紧急停牌，投资者损失惨重。",
    "海外子公司遭债权人起诉，资产被冻结，经营陷入瘫痪。",
)
