"""The kernels of the PDM Score, versions 1 (PDMS) and 2 (EPDMS).

Formulas: NAVSIM (Dauner et al., NeurIPS 2024; Cao et al., CoRL 2025 for version 2), PDM-Closed
(Dauner et al., CoRL 2023), nuPlan (Karnchanachari et al., 2024).
"""
