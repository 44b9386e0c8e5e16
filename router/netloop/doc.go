// Package netloop is event loops on gnet as byte streams: sockets are read, written, woken and closed here, and nothing
// is known of what the bytes mean.
//
// # Who owns what
//
// A Socket belongs to one Loop for life; its Handler, its Outbox and everything that hangs on them are touched by that
// loop only. A loop is a gnet client engine with a single event loop and a pool.Station: other goroutines reach it by
// Wake and Post. Three goroutines serve all loops of an Engine: one that waits until blocked sockets can be written
// again, one that ticks every second, and one for each listener, two if it is a unix socket, whose file is looked at; and
// there is one for each TLS handshake.
//
//	kernel ──read──▶ Loop ──Handler.Read──▶ owner ──Outbox──▶ Loop ──writev──▶ kernel
//	                  ▲                                         │ what the kernel does not take
//	                  └── ready ◀── epoll (EPOLLOUT, one shot) ◀┘ is kept, and the socket is blocked
//
// Each callback ends a batch: what was staged is written with one call for each socket.
//
// # TLS
//
// A listener may have TLS (Acceptance.TLS); a Handler sees plain bytes all the same.
//
//	accept ──▶ goroutine: handshake ──enrol──▶ Loop ──ciphertext──▶ sealed ──tls.Conn.Read──▶ Handler.Read
//	           blocking I/O, a deadline         │                                           plaintext, lent
//	           computes only in its turn        └◀─writev── records ◀──tls.Conn.Write── Outbox
//
// The net.Conn under the tls.Conn (sealed) has two lives. While the handshake runs it is the connection. Many handshakes
// may wait for their peers, as many as there may be sockets; few compute at a time (handshake.begin), so that loops get a
// processor. After that it is memory: the loop puts what it has read in, and takes records out. There is nothing to wait
// for: a read that finds nothing returns an error that is Temporary, after which crypto/tls can be asked again, with what
// it has of a record in hand.
//
// The outbox holds plaintext until a flush makes records of it, 16 KiB each if there is as much. What the kernel does not
// take waits as ciphertext. Written, Waiting and Staged count ciphertext: what the peer acknowledges is that.
//
// A close_notify is the end of a direction, ours precedes the FIN (P-tls-6). A FIN without one ends the socket (ErrTruncated): what
// was complete has been delivered, what waits for the peer is dropped.
//
// crypto/tls allocates 24 bytes whenever it asks for input; nothing else here allocates for a message.
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
