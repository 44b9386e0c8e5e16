// Package router is the data plane: it moves SLIM messages between connections by name, without looking inside them.
//
// # Who owns what
//
// A node has a few event loops (package netloop). A connection is one stream of messages (package transport) and belongs to
// the loop of its socket for life; so do its negotiation, its link's memories (package hop), its queue and its timers.
// Nothing of these is touched by another loop. Loops speak through single-producer single-consumer rings and wake each
// other once a batch (pool.Exchange). The name table is shared: every loop matches in it without a lock.
//
// Listeners, and what loops obey, can change while the node runs (Node.Prepare): a Change owns what it has opened until it is
// committed; a listener that is removed belongs to the goroutine which drains it.
//
// # The journey of a message
//
//  1. Conn.receive (ingress.go): wire.Scan finds the header; hop.Link.Receive knows it or verifies and checks it.
//  2. Conn.publish (publish.go): table.MatchOne or MatchAll, never the source, at the table.Place where the sender's name was found last.
//  3. loop.deliverAll: a target of the same loop is served at once; another loop gets one event. Many targets are served
//     in slices (fanout.go).
//  4. hop.Link.Header: rewritten and signed for the target's link, or remembered.
//  5. transport.Stream.Put: into the target's output, or into its queue (queue.go).
//
// ARCHITECTURE.md begins and ends the journey at the sockets.
//
// # Pressure
//
// What a receiver cannot take at once waits in its queue, bounded by Options.ConnBuffer. A message queued beyond that bound
// is charged to its sender: the sender's window is not refilled by that much until the message has left or died. A charged
// receiver that takes too little for too long is stalled (stall.go): nobody waits for it any more. So memory is bounded by
// ConnBuffer for each receiver plus one window for each sender.
package router
