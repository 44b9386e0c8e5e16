// Package scenario measures nodes from outside: it starts one (or takes one that runs), puts load on it through raw clients,
// and tells what was delivered, how late, and what it cost the node. Several nodes are measured in one interleaved run, so
// that the ratios between them hold on a busy machine where no absolute figure does.
//
//	Scenario   what is done to a node: p2p, fanout, churn…; a YAML file names its cases, a Kind in Go does it
//	Suite      scenarios with conditions: smoke, ci, full, or a file of one's own
//	Plan       cases, nodes and rounds; Run executes it, A B B A, until conditions are decided
//
// What comes of it, and what must hold of that, is in bench/result. Nodes ("floor" is the blind relay of bench/relay, "base"
// an earlier build), the rig of one measurement and its traffic are in bench/load.
//
// What of it may be believed, and how conditions are judged, is in docs/performance.md.
package scenario
