import warnings

import dagster as dg

# Observable source assets and parts of Pipes are in beta or preview, which Dagster says again for each at every start.
for category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=category)
