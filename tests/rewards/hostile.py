"""Generated inputs for fuzzing: LaTeX-shaped, raw, and the shapes that hang or break graders."""

from __future__ import annotations

from hypothesis import strategies as st

_ATOMS = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.sampled_from(
        [
            "x",
            "y",
            "n",
            "e",
            "i",
            "\\pi",
            "\\infty",
            "a_n",
            "x_{1}",
            "10^{10^{10}}",
            "9^{9^{9^9}}",
            "1000000!",
            "\\text{ cm}",
            "AB",
        ]
    ),
    st.sampled_from(
        [
            "\\emptyset",
            "\\mathbb{R}",
            "30^\\circ",
            "50\\%",
            "204_5",
            "1{,}000",
            "5\\,000",
            "\\$5",
            "3:4",
            "12:30",
            "\\ne",
            "\\pm 2",
        ]
    ),
)


def _compose(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda p: f"\\frac{{{p[0]}}}{{{p[1]}}}"),
        pair.map(lambda p: f"{p[0]}^{{{p[1]}}}"),
        pair.map(lambda p: f"({p[0]}, {p[1]}]"),
        st.tuples(
            inner,
            st.sampled_from(
                ["+", "-", "*", "/", "=", "<", "\\le", "\\cup", ",", ";", " or ", "\\pm", "^", "_", "!", " "]
            ),
            inner,
        ).map("".join),
        st.tuples(
            st.sampled_from(
                ["\\sqrt{", "\\sin(", "\\log_{", "|", "\\{", "(", "\\left[", "\\boxed{", "\\text{", "\\sum_{k=1}^{"]
            ),
            inner,
            st.sampled_from(["}", ")", "|", "\\}", "\\right]", ""]),
        ).map("".join),
        st.lists(inner, min_size=1, max_size=6).map(", ".join),
        st.lists(inner, min_size=1, max_size=4).map(
            lambda rows: "\\begin{pmatrix}" + " \\\\ ".join(rows) + "\\end{pmatrix}"
        ),
    )


def latex_texts() -> st.SearchStrategy[str]:
    """Mostly well-formed LaTeX, nested a few levels, with the occasional bomb inside."""
    return st.recursive(_ATOMS, _compose, max_leaves=12)


def raw_texts() -> st.SearchStrategy[str]:
    """Anything: unicode, control characters, fragments of commands and of code, long repetitions."""
    fragments = st.sampled_from(
        [
            "\\",
            "{",
            "}",
            "$",
            "\\boxed{",
            "\\frac",
            "^",
            "_",
            "(",
            ")",
            "[",
            "]",
            "|",
            "<think>",
            "</think>",
            "<output>",
            "</output>",
            "__import__('os')",
            "lambda:",
            "\x00",
            "\\begin{array}",
            "\\end{array}",
            "&",
            "\\\\",
            "9",
            "!",
            "'",
            "\\left",
            "\\right.",
            "\u202e",
            "②",
        ]
    )
    pieces = st.lists(st.one_of(fragments, st.text(max_size=8)), max_size=30).map("".join)
    repeated = st.tuples(fragments, st.integers(1, 1500)).map(lambda pair: pair[0] * pair[1])
    return st.one_of(pieces, repeated, st.tuples(repeated, pieces).map("".join))


def any_texts() -> st.SearchStrategy[str]:
    return st.one_of(latex_texts(), latex_texts(), raw_texts())
