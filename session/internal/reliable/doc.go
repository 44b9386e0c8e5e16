// Package reliable delivers the data of a session although messages get lost, doubled and out of order: a Sender numbers
// what it sends and repeats it until every endpoint has acknowledged it; a Receiver acknowledges, asks for what is missing,
// and hands over what each source sent once and in order.
//
//	Publish ──▶ in flight ── Ack of all ──▶ delivered          Receive ── next of its source ──▶ Deliver, Ack
//	               │  ▲                                            │ later: held; Request for each gap
//	               └──┘ an interval after it has left              │ held, or delivered already: a duplicate, Ack
//	               │                                               │ given up before it came: Missed
//	               ├── too often, or its endpoint is offline ──▶ late: kept for who asks, and reported as not delivered
//	               └── its endpoint left, or has missed it ──▶ reported as not delivered
//
// What a sender reports as delivered every endpoint has handed over: a receiver acknowledges what it delivers, not what
// it holds, nor what it has given up. Nothing waits for ever: a gap that is not filled becomes a loss, which is reported in its place.
//
// Time counts from when a message has left, which the owner says of each copy (Sender.Sent), and, on both sides, not while what goes
// before is answered, or comes: so repeats do not make a slow way slower. Little is handed over ahead (Ahead); the rest waits where
// it is neither encrypted nor repeated.
//
// The machines do no I/O and have no clock: time is given, what is to be done is left in Out, in order, and Deadline says
// when Tick is due. One goroutine at a time uses each.
package reliable
