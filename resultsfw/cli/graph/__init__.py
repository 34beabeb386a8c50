"""Pictures of PipelineRuns as SVG: what they show, where it is placed, how it is drawn."""
