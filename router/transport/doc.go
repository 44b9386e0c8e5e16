// Package transport carries SLIM messages in order: over byte streams, by gRPC over HTTP/2 or WebSocket, and over rings to apps in
// the process. Who uses it sees a Stream to put messages on and is a Receiver of those that come; neither knows what lies below.
//
//	Receiver ◀── messages ── Stream ── bytes ──▶ netloop.Socket
//	(router.Conn)               │      (gRPC, WebSocket)
//	                            └───── Bufs ───▶ pool.Pipe, of an app
//
// # Who owns what
//
// Everything here belongs to the loop of its socket. A Group holds what lives on one loop: it has the deadlines, the
// keepalive and the orderly end of all its sockets.
//
// # Room and charge
//
// A Stream never queues: Put takes a message whole or not at all, and Receiver.Writable says when to try again. What the
// receiver of a message cannot take is charged to its sender: Charge withholds that much of the window that lets the peer
// send. A WebSocket has no windows: it holds its peer by not reading its socket. An app in the process has room in its pipe as others
// have a window.
//
// # Order
//
// There is one output: what the engine wants to say goes into the outbox before any message or end of stream that is
// staged later, and the rest at the flush. So nothing overtakes, and what is said on a stream precedes its end.
package transport
