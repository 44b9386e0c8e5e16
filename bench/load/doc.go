// Package load makes traffic and judges what arrives, whatever the protocol underneath: payload stamps, sequence checks,
// latency, closed and open loops. It knows peers only through the interfaces Conn and Publisher, which bench/client
// implements for SLIM, over session/uplink, and interop/cost for NATS.
//
//	Target    a node, which is started for each measurement or runs somewhere
//	Rig       a node with its connections, for one case in one round
//	Traffic   senders and receivers of a case, the phases in which they are measured, one sample a second
//	Case      size, identity and pace of messages
//
// Two goroutines serve a connection: one reads and calls the Sink, one runs a Sender. Between them there are only atomic
// counters and one wake-up queue, so that the generator's own cost per message stays far below that of a node.
package load
