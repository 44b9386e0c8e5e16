// Package netloop is event loops on gnet as byte streams: sockets are read, written, woken and closed here, and nothing
// is known of what the bytes mean.
//
// # Who owns what
//
// A Socket belongs to one Loop for life; its Handler, its Outbox and everything that hangs on them are touched by that
// loop only. A loop is a gnet client engine with a single event loop and a pool.Station: other goroutines reach it by
// Wake and Post. Three goroutines serve all loops of an Engine: one that waits until blocked sockets can be written
// again, one that ticks every second, and one for each listener.
//
//	kernel ──read──▶ Loop ──Handler.Read──▶ owner ──Outbox──▶ Loop ──writev──▶ kernel
//	                  ▲                                         │ what the kernel does not take
//	                  └── ready ◀── epoll (EPOLLOUT, one shot) ◀┘ is kept, and the socket is blocked
//
// Each callback ends a batch: what was staged is written with one call for each socket.
//
// # Errors of one direction
//
// A write that fails mutes the socket: nothing more is written, but it is read to its end, since the kernel has
// acknowledged to the peer what lies there. A peer that ends its direction (half-close) can still be written to, if the
// handler wants to: see Handler.Ended. Neither direction drops the other.
//
// # Panics
//
// A panic in a callback costs the socket that was being served and nothing else: Owner.Panicked is told, the batch
// goes on.
package netloop
