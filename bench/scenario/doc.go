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
// # What may be believed
//
// A closed loop keeps so many messages under way and shows the rate that a node reaches. An open loop sends by the clock
// whatever comes back, and counts delays from the time a message should have been sent: a node that pauses is charged for every
// message it kept waiting. A delay belongs to the phase in which its message was due, also when it comes after its end; what
// never comes, or was never let out, counts as late by the time for which it was awaited. Loss, duplicates and order are
// judged by numbers in the payload, over the whole case.
//
// Rates and delays of a closed loop are the node's only where the generator could have done much more. The relay is measured
// beside the node for that: where it does not reach three times the node's rate, the result says "client-limited". CPU for each
// delivered message is read from the node's process and holds all the same. An open loop is valid only where about as much is
// delivered as was asked for; else its delays are those of a queue that grows.
//
// Conditions are ratios of figures that were measured by turns in the same run, or they are about what does not depend on
// speed: loss, order, bytes, growth. Absolute times are refused. What scatters is judged by a confidence interval over the
// rounds, of 99 % while rounds may be added and of 95 % after the last; counts have to hold in every round. A condition fails
// only on figures that are valid; what is not measured, or not validly, is unclear, and so is a run that looked at nothing.
package scenario
