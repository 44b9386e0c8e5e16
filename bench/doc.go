// Package bench measures nodes from outside: it starts one (or takes one that runs), puts load on it through raw
// clients, and tells what was delivered, how late, and what it cost the node. Several nodes are measured in one
// interleaved run, so that the ratios between them hold on a busy machine where no absolute figure does.
//
//	Scenario  what is done to a node: p2p, fanout, idle, table, slow
//	Params    one case of a scenario: sizes, how many, how fast
//	Rig       one node with its connections, for one case in one round
//	traffic   senders and receivers of a case, and the window in which they are measured
//	Plan      scenarios, cases, nodes and rounds; Run executes it
//	Results   figures by case and node, medians, ratios; printed as a table or as JSON
//
// Traffic itself is made and judged in bench/load; bench/client and bench/nats speak the protocols; bench/process starts
// and measures nodes.
package bench
