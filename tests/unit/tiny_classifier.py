"""A transformers sequence classifier small enough to make in a test: one BERT layer set by hand so that it counts words.

Every token is nothing, a bad word or a good word; attention takes their mean, and the head reads it.
"""

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
BAD = {"en": ["bankruptcy", "fraud", "plunge"], "zh": [*"假跌违断"]}
GOOD = {"en": ["soars", "record", "surge"], "zh": [*"增高爆涨"]}
LABELS = ("negative", "neutral", "positive")
HIDDEN = 8


def tiny_classifier(folder, labels=LABELS, means=None, knows=("en", "zh"), swaps=(), positions=64):
    """Write a folder and return it. Output `n` is called `labels[n]` and speaks up for `means[n]`; bad words of the
    languages in `swaps` count as good ones and the other way round; only the words of `knows` have any effect."""
    folder.mkdir(exist_ok=True, parents=True)
    words = [word for lang in ("en", "zh") for word in BAD[lang] + GOOD[lang]]
    vocabulary = {word: n for n, word in enumerate([*SPECIAL, *words])}
    save_tokenizer(folder, vocabulary)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=positions, type_vocab_size=1, pad_token_id=0, id2label=dict(enumerate(labels)),
        label2id={label: n for n, label in enumerate(labels)}, num_labels=len(labels),
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    state = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    for name in state:
        if name.endswith("LayerNorm.weight"):
            state[name] += 1
    for name in ("attention.self.value", "attention.output.dense"):
        state[f"bert.encoder.layer.0.{name}.weight"] = torch.eye(HIDDEN)
    state["bert.pooler.dense.weight"] = torch.eye(HIDDEN)
    for lang in knows:
        bad, good = (1, 0) if lang in swaps else (0, 1)
        for column, known in ((bad, BAD[lang]), (good, GOOD[lang])):
            for word in known:
                state["bert.embeddings.word_embeddings.weight"][vocabulary[word], column] = 1
    for n, meaning in enumerate(means or labels):
        column = {"negative": 0, "positive": 1}.get(meaning)
        if column is None:
            state["classifier.bias"][n] = 3
        else:
            state["classifier.weight"][n, column] = 8
    model.load_state_dict(state)
    model.save_pretrained(folder)
    return folder


def save_tokenizer(folder, vocabulary):
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
