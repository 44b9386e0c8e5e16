// Package ws is WebSocket (RFC 6455) for both roles, as a data plane connection needs it: an ordered stream of messages
// over a stream of bytes. It does no I/O, reads no clock and starts no goroutine: Feed takes what the socket gave,
// Control and the methods that append return what the socket shall send, Events tells what happened. Rules: P-ws.
//
// # States
//
//	           Events.Request          Accept         Close of one side           of the other
//	handshake ────────────────▶ asked ────────▶ open ───────────────────▶ closing ─────────────▶ over
//	    │                         │ Refuse        │ Fail, a fault of the peer │
//	    ▼                         ▼               ▼                           ▼
//	HandshakeError: a server's answer             ConnError: the Close that says why is in Control,
//	is in Control                                 unless ours was already out
//
// A client is not asked: Events.Response opens it.
//
// Each direction ends by its own Close frame. After ours nothing can be sent; messages of the peer still come, since it
// may have sent them before it read ours. After the peer's nothing comes, and whatever follows it is discarded; what
// waits for the peer may still be sent before Close. When both are out, or Feed has failed, the owner writes what is
// left and closes the socket: the server first (RFC 6455 section 7.1.1), the client when the server has, or after some
// time.
//
// # The usual turn of an owner
//
// Init; as a client Upgrade. Then, for each read: Feed; append Control to the output and call ControlDone; append
// messages with Message and the payload in parts, write the output. Control goes between messages or between fragments,
// never into the payload of one: append it before Message is called, and before the output is written. Tick and Relax
// are for a timer, every second or so.
//
// # Who owns which memory
//
// The bytes given to Feed are borrowed until it returns, and written to: a server unmasks them where they lie. A
// message that lies in them as one frame is lent to Events.Message from there, without a copy. A message that spans
// reads or frames is gathered in memory that Events.Grow returns; it goes back to the owner with the message, at
// InputEnded, and after a failure of Feed. What Request and Response show is borrowed until they return; it is wiped
// then, because it may hold credentials. Control is borrowed until the next call of any method. A payload that is sent
// belongs to the caller: a server's goes out unchanged, so long tails can be written from where they lie; a client's is
// masked, so it is to be copied first (Masks).
//
// # Limits
//
// A handshake has at most Settings.MaxHead bytes and MaxFields fields. A message has at most Settings.MaxMessage bytes,
// until SetMaxMessage at most FirstMessage: the length of a frame is judged before its payload comes. Memory for a
// message follows what has arrived, not what a length announces. Pongs in Control take at most 4 KiB and one more: when
// more pings wait for an answer, those to the oldest remain and the newest is answered (RFC 6455 section 5.5.3). Frames
// that carry little or nothing are paid for from a budget (floods.go). There are no windows: a peer is held by not
// reading its socket, which holds its pings, too. What a peer begins and does not complete is dated with the owner's
// ticks: Unfinished.
//
// # Errors
//
// Feed returns a *HandshakeError until the connection is open and a *ConnError after that; both are final. Methods that
// send do nothing while the connection is not open or after Close, and say so. Nothing that a peer sends causes a
// panic.
//
// # Not here
//
// Extensions but permessage-deflate (deflate.go), of which the engine does all but the work on the content. Subprotocols:
// SLIM has none.
package ws
