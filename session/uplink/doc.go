// Package uplink is a client's connection to a SLIM node: one stream of messages over one net.Conn, its link
// negotiated, headers signed and checked. It is the connection of an app; load generators and tests use it, too.
//
//	c, err := uplink.Dial(ctx, "https://node:46357", &uplink.Options{}) // or ws://, wss://, unix://, host:port
//	id, err := c.Subscribe(ctx, &wire.PublishHeader{Source: me, Dest: me, TTL: 8, ...})
//	err = c.Publish(ctx, &wire.PublishHeader{Source: me, Dest: bob, Fanout: 1, TTL: 8, ...}, session, content)
//	msg, err := c.Receive(ctx)
//	err = c.Close(ctx)
//
// Local is the connection to a node in the same process, through pipes instead of a socket; a Keeper keeps either.
//
// # Pressure
//
// What is sent waits in a queue of bounded size until windows and socket take it; while the queue is full, Send,
// Publish and Write wait, and TrySend says ErrFull. What is received returns to the node's window when the app has
// taken it, so a node runs ahead of an app by one window and no more.
//
// # Goroutines
//
//	app ──Send──▶ queue ──▶ writer ──▶ socket ──▶ reader ──▶ Receive, or Options.Handle
//	                ▲                               │
//	                └────── windows, answers ───────┘
//
// A connection has a reader and a writer, in whose stead WriteThrough writes. All methods are safe for all, but Receive,
// which one goroutine calls at a time. The engines of package h2, link and mac belong to Conn.mu, to the reader, or to
// the signer, as their fields say.
//
// # Ends
//
// A connection ends once: by Close, which returns nil when the node has taken everything that was accepted; by Abort;
// or by an *Error that says whose doing it was. It does not connect anew: that is for who keeps connections.
package uplink
