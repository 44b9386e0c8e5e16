// Package relay is the floor under every measurement: a node that carries the same messages over the same loops and
// transport (router/netloop, router/transport) with nothing on top. It knows no names, negotiates no link, checks and makes
// no MAC, and never looks into a message. What it costs, any node of this kind must cost; what a node costs beyond it is
// the node's own work.
//
// A stream says with its first message what it is for (client.Join, client.Feed). Every message of a feed goes to
// those who have joined, with the bytes it came with. Receivers are found when streams come and go, not with each message.
//
// One event loop carries everything: a relay's rate is that of one processor. It trusts its clients, which it may take
// any amount of memory for: names, not messages, whose senders wait (windows are the only pressure).
package relay
