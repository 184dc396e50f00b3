"""Networks and models in words: where each network runs, and what its users cite."""

# Where a network of the package runs.
ROLES = {"guided": "with a guide", "alone": "where there is no guide"}
# Architectures of the networks of the package, in general terms.
ARCHITECTURES = {"guided": "Residual CNN", "alone": "Residual CNN"}
# What a user of a model or a network cites; docs/citing.md has the entries.
OURS = "dualsr-geo; Wang et al. (2015), area-to-point regression kriging; Aiazzi et al. (2006), MTF-matched injection"
CITATIONS = {
    **dict.fromkeys(("auto", "learned", "regression", "interpolation", "guided", "alone"), OURS),
    "gsa": "Aiazzi et al. (2007), multivariate regression of MS and pan data",
    "mtf-glp-hpm": "Aiazzi et al. (2006), MTF-tailored multiscale fusion",
    "coarsr": "Li et al. (2022), Dual-Stage Approach Toward Hyperspectral Image Super-Resolution (DualSR)",
    "coarsenet": "Li et al. (2022), Symmetrical Feature Propagation Network (SFPN)",
}
UNKNOWN_SOURCE = "the source of the weights"
