// Package sessiontest is a network in one process, for tests of agents and other apps that use package session: no node, no
// ports, and no waiting. Its messages can be lost, doubled, delayed and reordered, apps cut off and killed, all as a script and
// a seed say; and a test that fails shows who has said what to whom.
//
//	func TestAgent(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			net := sessiontest.New(t, sessiontest.Options{Loss: 0.05, Reorder: 0.1})
//			go agent.Run(t.Context(), net.Options("org/ns/agent"))
//			alice := net.App("org/ns/alice")
//			s, err := alice.Open(t.Context(), session.MustName("org/ns/agent"), session.SessionOptions{})
//			...
//			net.Partition("org/ns/agent")
//			time.Sleep(40 * time.Second) // alice takes the agent for offline
//			net.Heal()
//		})
//	}
//
// # Time
//
// In a bubble of testing/synctest, as here, time is simulated: forty seconds pass in no time, and only while nobody has anything
// to do. A network works without a bubble, too, and takes the time then that it says.
//
// # What a network is like
//
//	app ─▶ node ── name, one or all of those who have it ──▶ rules, partitions, lottery ──▶ delay ──▶ app
//
// The node routes like a SLIM node: by subscriptions, to one instance in turns or to all, never back to where a message came
// from, and what is for nobody is lost without a word. Subscriptions are acknowledged after the time of two messages, and none of
// them is lost.
//
// What becomes of a message depends on the seed, on who has sent it to whom, on its type, and on how many of that type there were
// before between the two. So a test whose apps do the same runs the same, whatever the scheduler does; sessions of two apps beside
// each other share that count.
package sessiontest
