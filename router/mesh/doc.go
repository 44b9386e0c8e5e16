// Package mesh decides what a node tells its peers about who holds which name (P-peer), and which peer links stand by, so that they
// form no loop (P-loop, loops.go).
//
//	table (truth) ──Touch──▶ routes ──▶ list of changes ──Next──▶ messages to one peer
//	peers' Subscribe ──Offer──▶ routes ──▶ table entries of kind Peer (Enter, Leave: the table keeps no list of a peer's names)
//
// A route is a name together with the subscription id under which it travels between nodes. It is born where
// somebody other than a peer holds the name and spreads from node to node. A node that hears of a route from
// several peers keeps all these offers but puts only the nearest into the table, so that a route is a tree and a
// message comes once. Nearness is the TTL that is left. The id is made from the node's id and the name: it is the
// same after a restart, and no client can choose it.
//
// Peers are reconciled, not notified: a change puts the route at the end of one list, along which every peer walks
// at its own pace, and Next compares what the peer should know with what it was told. So messages to one peer keep
// their order, changes that cancel out are never sent, a peer that takes nothing costs nothing, and a new one just
// begins at the front.
//
// When the offer in use goes away, another is taken at once only if it cannot have come through this node (its
// TTL shows that it was never farther from the origin); else the route rests for holdTicks, in which the news of an
// origin's death overtakes all echoes of it. What is left then is a real way around a lost link. Should an echo
// survive that, it loses TTL at each hop and dies.
//
// The package reads no clock and sends nothing; its time is Tick. One mutex guards everything: this is cold work
// that comes from all loops. No call holds it for more than a bounded number of steps, however many names there are;
// what takes long (Fill, SweepStep, Due) is done in portions.
package mesh
