"""PipelineRuns: their Tasks in order, results from Task to Task, and a status that stays small."""
