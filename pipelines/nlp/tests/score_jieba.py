"""Scores jieba with its own dictionary on a segmented text, as the SIGHAN bakeoffs do.

    pip install jieba==0.42.1
    python score_jieba.py GOLD WORDS

GOLD has one sentence a line, words separated by white space; WORDS has the words of the training data, one a line, which
decide what is out of vocabulary. The same for a model of ours:
`cargo xtask eval nlp segment --model DIR --data GOLD --set word_list=WORDS`.
"""

import logging
import sys

import jieba


def spans(words):
    start = 0
    for word in words:
        yield (start, start + len(word))
        start += len(word)


def main(gold, known):
    jieba.setLogLevel(logging.ERROR)
    with open(known, encoding="utf-8") as file:
        known = {line.strip() for line in file}
    right = found = real = unknown = unknown_right = 0
    with open(gold, encoding="utf-8-sig") as file:
        for words in filter(None, (line.split() for line in file)):
            cut = set(spans(jieba.cut("".join(words))))
            found, real = found + len(cut), real + len(words)
            for word, span in zip(words, spans(words)):
                right += span in cut
                unknown += word not in known
                unknown_right += word not in known and span in cut
    precision, recall = right / found, right / real
    print(f"precision {precision:.4f} recall {recall:.4f} F1 {2 * precision * recall / (precision + recall):.4f}", end=" ")
    print(f"oov_rate {unknown / real:.4f} oov_recall {unknown_right / unknown:.4f}")


main(*sys.argv[1:])
