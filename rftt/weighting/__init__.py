"""Which tokens to learn from: SHAD and RFT (arXiv 2412.14780), SFTKey (arXiv 2512.21017), and neighbours for comparison.

A *weighting* turns the learnt tokens of a sample into weights (`interface`); trainers know only weights (`trainer`). SHAD
(`shad`) gives tokens the roles that some weightings look at.
"""
