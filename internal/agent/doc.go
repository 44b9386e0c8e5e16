// Package agent is a node's end of the control channel: the client of control planes, with which it registers and which tell
// it what links and routes to have, and a server for whoever operates the node by the same messages (P-ctl).
//
//	control planes ◀──stream of plane──▶ ┐                        ┌──▶ router.Node.Dial, ActiveLink.Change
//	                                     ├─ commands ─▶ desk ─────┤
//	tools ──▶ server ◀──stream──▶        ┘     ▲                  └──▶ acknowledgements, on the stream of the command
//	                                           └── router.Watch: links come up and go
//	router.Watch: names come and go ──▶ news of each plane ──▶ its stream
//
// Control is reconciliation. What a control plane wants is kept as a state (order), whole, and the desk, one goroutine, makes the
// node match what all orders together want, as often as something has changed: a command, a link, a time. Nothing else has
// side effects on the node. A command is acknowledged when the first outcome of each link that it names is known.
//
// News go without a queue, too: a name that changes is marked, and when the stream has room for it, the node is asked whether
// the name is held now and that is compared with what the control plane was told last. More marks than a bound become one
// comparison of all names. So a control plane that reads slowly, or not at all, costs a bounded amount of memory, and
// nobody's time: loops set a mark, and nothing of the data plane waits for a stream.
//
// A control plane that has been away knows nothing of the links that it has ordered before, and orders them anew under other
// ids, one after the other, as nodes come back to it. So links and routes of before stay for a while after a registration,
// although no order names them any more, and when a link to the same node or endpoint has come up, routes move to it before the
// old link is closed: messages go on all the time (P-ctl-9).
package agent
