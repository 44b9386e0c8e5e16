// Package result is what a run of the load tool has found: the parameters of its cases, their metrics round by round, what
// makes figures invalid, conditions and the verdicts on them, the comparison of two runs, and all of it as JSON
// (docs/bench-json.md). It measures nothing, and knows no nodes but by their names.
package result
