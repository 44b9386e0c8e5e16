// Package router is the data plane: it moves SLIM messages between connections by name, without looking
// inside them.
//
// # Who owns what
//
// A node has a few event loops (gnet). A socket is accepted by a goroutine of its listener and belongs to one
// loop for life; so do its HTTP/2 engine, its connections (one for each OpenChannel stream), their negotiation,
// header MACs, memories of headers, output queues and timers. Nothing of these is touched by another loop.
// Loops speak through single-producer single-consumer rings, one for each ordered pair, and wake each other
// through a socket pair, once a batch. The name table is shared: every loop matches in it without a lock.
//
// # The journey of a message
//
//  1. OnTraffic (loop.go): gnet lends the bytes of one read until the callback returns.
//  2. h2.Conn.Feed: frames, windows, the gRPC envelope; a message that spans reads is gathered in a pool.Buf.
//  3. Conn.receive (ingress.go): wire.Scan finds the header; the memory of recent headers (memory.go) knows
//     a header that came before byte for byte, or at least its names.
//  4. The header MAC is verified unless remembered; the TTL is lowered.
//  5. table.Match: one target or all, never the source.
//  6. deliver (publish.go): a target of the same loop is served at once, straight into its output; others get
//     a reference to one shared pool.Buf through the ring of the pair.
//  7. Conn.put (egress.go) writes envelope, opening, rewritten header (remembered or signed anew) and tail into
//     the socket's outbox; a long tail is not copied but written from where it lies.
//  8. loop.flush: one vectored write per socket and batch.
//
// # Pressure
//
// What a receiver cannot take at once waits in its queue, bounded by Options.ConnBuffer. A message queued behind
// that bound is charged to its sender: the sender's HTTP/2 window is not refilled by that much until the message
// has left or died. A charged receiver that drains too little for too long is stalled (stall.go): nobody waits
// for it any more. So memory is bounded by ConnBuffer for each receiver plus one window for each sender.
package router
