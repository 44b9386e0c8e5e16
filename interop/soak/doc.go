// Package soak holds the node's program under every attack at once, beside honest traffic that must not notice.
//
//	go test -tags interop ./interop/soak -run TestSoak -timeout 30m
//	go test -tags interop ./interop/soak -run TestSoak -timeout 90m -args -soak.duration 30m
//	go test -tags interop ./interop/soak -run TestSoak/drop -timeout 30m -args -soak.duration 8m -soak.attacks peers,storm
//
// # One round
//
// There is one round for each policy of --slow-consumer, one after the other, since two processors do not bear more:
//
//	start ── settle ── control: load ── settle ── attacks ── settle ── stop
//	           │                          │                    │
//	        reference                  reference          must be as at the start
//	      of resources                  of delays
//
// The node has two loops, and runs under `ulimit -v` of 3 GB with so few descriptors that they run out. -soak.duration
// is the time under attack of all rounds together; a control lasts half as long as the attacks of its round. After each
// part the honest senders pause until everything has come, and what the node holds is looked at until it is what it
// was.
//
// # Who takes part
//
//	honest_test.go   in this process: paced senders and receivers, whose messages are numbered and whose delays count from
//	                 the time when they were due. Names come and go, one client connects again and again.
//	attacks*_test.go one process each, this program again, held to half a processor by what it has used so far. That the
//	                 node refuses or ends what they do is expected; they begin again.
//	load_test.go     as many processes, with as much of a processor each, that publish as fast as that allows and read
//	                 all: the honest load beside which the delays are compared.
//	node_test.go     the node, its counters (SIGUSR1), its memory and descriptors, and its log, a pipe that nobody reads for
//	                 most of the time under attack.
//
// # What is judged
//
// Always: of the honest traffic nothing is lost, doubled, changed or out of order, and no honest connection is refused
// or ended. Under the policy drop no more may be lost than the node has counted as dropped for full receivers. No
// attack may harm what an innocent client of its own does: some of them watch one. Descriptors, goroutines, sockets,
// connections, names and queues end where they began, memory within a stated bound; the node has no internal errors and
// stops in order.
//
// Only in rounds with a minute of each, where there are enough delays: p99 under attack is at most three times p99
// beside the honest load. All these processes compete for the processors of one machine, in both parts alike.
package soak
