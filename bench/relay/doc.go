// Package relay is the floor under every measurement: a node that carries the same messages over the same engine (gnet,
// wire/h2, one write a batch, windows as the only pressure) and does nothing else. It knows no names, negotiates no link,
// checks and makes no MAC, and never looks into a message. What it costs, any node of this kind must cost; what a node
// costs beyond it is the node's own work.
//
// A stream says in its request headers what it is for (client.JoinField, client.FeedField). A feed finds its receivers when
// streams come and go, not with each message. Every message leaves with the bytes it came with.
//
// One event loop carries everything: a relay's rate is that of one processor.
package relay
