"""Chinese, English, or neither: on sentences of fourteen languages and on the short slang that feeds are full of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.language import language
from groundswell.text import normalise

CHINESE = [
    "概念股走弱，Harborlight Systems(HLS.N)跌超6%，Northridge Vale跌4%，Tallarn Semiconductor跌3%",
    "。。。！！！",
    "公司三季度净利润同比下降四成",
    "跌停了，割肉走人",
    "特斯拉Model 3又降价",
    "騰訊股價受壓，投資者憂慮監管",
    "$TSLA 今天又跌了",
    "A股三大指数集体低开",
    "这波操作看不懂",
    "苹果iPhone销量下滑",
    "茅台の酒，好喝",
    "央行下调存款准备金率0.5个百分点",
    "ST股又来了",
    "亏麻了 lol",
    "CEO离职，股价暴跌",
]
ENGLISH = [
    "Shares of the bank fell after results",
    "$AAPL",
    "puts printing lol",
    "AAPL TSLA NVDA",
    "to the moon 🚀🚀",
    "wtf $GME",
    "RT @someone: Oracle CEO leaves",
    "Nestlé cuts its outlook for the year",
    "Earnings beat, guidance weak",
    "sell sell sell",
    "bag holder gang rise up",
    "Moët Hennessy sales slow",
    "",
    "😡😡😡",
    "$SPY 450p 0dte",
    "Tesla 特斯拉 shares plunge after the recall in China",
    "The company is in talks with Société Générale",
    "no way this holds",
    "BTC dumping again",
    "São Paulo exchange halts trading in the stock",
    "ngmi",
    "Q3 revenue 1.2bn vs 1.4bn est",
    "la la land was a great movie",
    "de facto default on the bonds",
    "Hold the line",
]
OTHER = [
    # French, German, Spanish, Portuguese, Italian, Dutch
    "Le groupe a annoncé une baisse de ses ventes pour la deuxième année",
    "Les marchés sont en forte baisse dans la matinée",
    "L'action chute après des résultats décevants et une mise en garde",
    "La banque va supprimer des emplois dans le pays",
    "Die Aktie fällt nach schwachen Zahlen deutlich",
    "Der Konzern hat die Prognose für das Jahr gesenkt und streicht Stellen",
    "Das Unternehmen ist mit dem Ergebnis nicht zufrieden",
    "Wir sind sehr enttäuscht über die Entwicklung",
    "Las acciones del banco caen tras los resultados",
    "La empresa no pagará dividendos este año por las pérdidas",
    "El mercado está muy nervioso por la inflación",
    "Los inversores huyen de la compañía según el diario",
    "As ações da empresa caíram após o balanço",
    "O banco não vai pagar dividendos neste ano por causa da crise",
    "A companhia anunciou que vai demitir mais de mil pessoas",
    "Il titolo crolla dopo i conti della società",
    "La banca ha chiuso il trimestre con una perdita che nessuno si aspettava",
    "Gli investitori sono preoccupati per il debito",
    "Het aandeel daalt na de zwakke cijfers van het bedrijf",
    "De bank heeft een waarschuwing voor het komende jaar gegeven",
    # Indonesian, Vietnamese, Turkish, Polish, Swedish
    "Saham bank itu turun setelah laporan yang tidak baik",
    "Harga minyak naik karena pasokan dari Rusia akan turun",
    "Perusahaan ini sudah tidak bisa membayar utang kepada bank",
    "Cổ phiếu của ngân hàng này giảm mạnh trong phiên sáng",
    "Giá vàng tăng vì nhà đầu tư lo ngại lạm phát",
    "Công ty đã thông báo sẽ cắt giảm nhân sự",
    "Şirket hisseleri bugün çok düştü ve yatırımcılar için zor bir gün oldu",
    "Spółka nie jest w stanie spłacić długu, a kurs akcji spada",
    "Aktien faller efter en svag rapport och bolaget drar ner på personal",
    # Japanese, Korean, Russian, Arabic, Thai, Greek, Hindi
    "トヨタの株価が大幅に下落した",
    "日経平均は続落、円高を嫌気",
    "業績予想を下方修正、株価急落へ",
    "삼성전자 주가가 급락했다",
    "카카오 실적 쇼크, 투자자들 매도",
    "Акции банка упали после отчёта",
    "Рубль снова дешевеет к доллару",
    "انخفضت أسهم الشركة بعد النتائج",
    "หุ้นธนาคารร่วงหลังประกาศงบ",
    "Η μετοχή της τράπεζας έπεσε σήμερα",
    "कंपनी के शेयर गिर गए",
]
ALL = [(text, "zh") for text in CHINESE] + [(text, "en") for text in ENGLISH] + [(text, "other") for text in OTHER]


def test_there_are_enough_sentences_to_mean_something():
    assert len(ALL) >= 60


@pytest.mark.parametrize(("text", "wanted"), ALL)
def test_the_language_of_a_sentence_is_seen(text, wanted):
    assert language(normalise(text)) == wanted


@given(st.text(max_size=300))
def test_every_text_has_one_of_three_answers(text):
    assert language(text) in {"zh", "en", "other"}
    assert language(text) == language(text)


def test_a_link_or_a_name_does_not_decide():
    assert language("跌了 @someveryverylongname $ABCDEFGH https://example.com/a/very/long/link") == "zh"
