r"""What the generator is worth, measured on scenes that the model was not trained on.

    python -m roadworthy_generators.behaviour.figures STORE --out DIR

Every scene is varied with three seeds. *Raw* are all attacks as they came out, those who replanned
after their last plan, before any is dropped; a *shipped* one was chosen, admitted, and holds a
certificate that stands the second test. Rates are over variants, their intervals over scenes (a
scene is a cluster).
"""
