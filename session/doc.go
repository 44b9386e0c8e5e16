// Package session is what apps talk with over SLIM: sessions of two or of a group, whose messages come once and in order, and are
// encrypted from end to end. Apps that use this package and those on upstream's Rust, Python and Node.js libraries can be in the
// same sessions. It is pure Go.
//
// # An app
//
// An App is a name, an identity and a connection to a node. The simplest identity is a secret of 32 bytes or more: all who know
// it believe each other.
//
//	app, err := session.Connect(ctx, session.Options{
//		Name:   session.MustName("org/ns/alice"),
//		Secret: secret,
//		Nodes:  []string{"https://node.example:46357"},
//	})
//	if err != nil {
//		return err
//	}
//	defer app.Close(ctx)
//
// An app in the process of its node says Options.InProcess instead of Nodes, and one between several networks has Options.Routes,
// or App.AddRoute while it runs. A connection that is lost comes back by itself; sessions outlive that. Other identities bring a TokenSource and a Verifier: package
// session/identity/jwt has such, and session/identity/spiffe. What a node wants to see before it lets the app in is another matter: Options.Authorization.
//
// # Sessions of two
//
//	s, err := app.Open(ctx, session.MustName("org/ns/bob"), session.SessionOptions{})
//	d, err := s.Publish(ctx, session.Text("hello"))
//	err = d.Wait(ctx) // bob has it
//
// Publish returns when the message is accepted, and its Delivery says what becomes of it: so many can be on their way. A
// Delivery tells the truth. After nil every member has the message; else a *NotDelivered names those who have not.
//
// The other side listens:
//
//	l, err := app.Listen(session.ListenOptions{})
//	for s, err := range l.Sessions(ctx) {
//		if err != nil { // that of ctx
//			return
//		}
//		go func() {
//			for m, err := range s.Messages(ctx) {
//				if err != nil { // it ended in no orderly way; m is nil
//					return
//				}
//				m.Reply(ctx, session.Text("you said "+string(m.Data)))
//			}
//		}()
//	}
//
// ListenOptions.Accept decides who may come, and tells others why not. An app that opens a session under its own name talks to itself,
// which shows whether it still answers.
//
// A session of two is over when either closes it, or when the other one was offline for ten minutes: it was killed, perhaps. Options.PeerTimeout
// says for how long, and Err is ErrPeerGone then.
//
// # Groups
//
// Who opens a group is its moderator: it alone invites and removes.
//
//	g, err := app.OpenGroup(ctx, session.MustName("org/ns/channel"), session.SessionOptions{})
//	err = g.Invite(ctx, session.MustName("org/ns/bob"))
//	d, err := g.Publish(ctx, session.Text("hello, all"))
//	d, err = g.PublishTo(ctx, bob, session.Text("and you"))
//
// A group that its moderator closes is over for all; another member leaves. The last one that does leaves the moderator alone, who can
// invite others. Participants is who is in it, and Events tells who comes
// and goes, who is offline, and what is lost.
//
// # What a session is like
//
// The zero SessionOptions are a session that is encrypted (MLS, RFC 9420) and reliable: a message is repeated, ten times in ten
// seconds after it has left, until it is acknowledged. Plain and Unreliable leave out the one and the other. In an encrypted session Message.Subject is
// who has sent a message, verified; in a plain one nothing of a message is.
//
// # Pressure
//
// Nothing is dropped in silence. Publish waits, as long as its context lets it, while 512 messages or 16 MiB of a session are under
// way. Of what arrives 1,024 messages or 8 MiB wait for Receive; more is not taken, so that reliable senders repeat it, and
// unreliable sessions tell by the event Overflow. App.Stats counts what came to nothing, by reasons.
//
// On a slow way out messages wait, and are not repeated meanwhile, and nobody is taken for offline to whom nothing could be sent. Sessions
// take turns: one that says little waits for some tens of kilobytes of others', and for the message that is being sent.
//
// No session waits for another one. What comes for a session whose worker has not looked at 20 MiB yet is dropped before it is acknowledged,
// and counted as Behind: reliable data comes again, control messages are repeated as well, and an unreliable session has the event Overflow.
// One sender of reliable data has 16 MiB under way at most; several in a group may send more than this app has the time to read. Where
// dozens of sessions are behind, nothing is dropped: the app reads no more, and the node keeps what comes, as it does for any slow
// receiver. Control messages are verified so often in a second: 512 of each member, and 1,024 discoveries and invitations, 512 of each
// sender. The rest is refused, and comes again.
//
// An inviter takes half of the places of a Listener at most, and is told so: ListenOptions.
//
// # Apps that are started again
//
// An app with a Store goes on where it was when it was stopped or killed: under the same id, in the same sessions, as moderator and
// as member, without an invitation. What it had published and nobody has acknowledged is sent again, under the same ids.
//
//	db, err := sqlite.Open("agent.db", nil) // package session/sqlite
//	app, err := session.Connect(ctx, session.Options{Name: name, Secret: secret, Store: db, StoreKey: key})
//	for _, s := range app.Sessions() { // those that it has opened; a Listener gives those of others
//
// Nothing is sent, handed over or reported that is not stored before, and everything is sealed under the key. What has come stays
// stored until Receive returns it, which is once; with Options.AtLeastOnce until Message.Handled is called of it, so that after a kill it
// may come a second time. A store that fails ends the session with ErrStore, and what was not stored is not sent. Close ends a session
// for good and leaves no record; App.Stop ends the app and leaves its sessions.
//
// # Many sessions, and large groups
//
// Ten thousand encrypted sessions of an app take some 45 KB each, and 0.15 of a processor while they rest: each says every ten seconds that it
// is there, which is signed, and verified by the other one. To open one takes each end a millisecond of that. An app that has less
// time than this answers late, and the first to notice are those who invite it: ErrTimeout.
//
// In a group all members answer its moderator whenever somebody comes or goes, and the sender of each reliable message; each hears of each other
// one that it is there; and who comes or goes is told to all with the whole list of members. So with a thousand members, encrypted:
//
//	to invite one  | 0.2 s of the moderator's processor, 2 ms of each member's; 91 KB to each member, 0.6 MB to the new one, who takes 50 ms
//	to remove one  | the same, and 210 KB to each member: new keys for all
//	a message      | 1,000 acknowledgements, 5 ms of its sender's
//	at rest        | 2 % of a processor of each member
//	memory         | 5.5 MB of each member; of a plain group 1.2 MB
//
// All of it grows with the members, and what it takes to invite them all with the square of that, a minute and a half of the moderator's processor;
// the lists alone are 45 GB that the node delivers meanwhile. A group has 4,096 members at most.
//
// # Errors
//
// Errors are tested for with errors.Is: ErrClosed, which is a net.ErrClosed, too, ErrTimeout, ErrNotDelivered, ErrDeclined,
// ErrUnauthorized, ErrNotMember, ErrConfig and others. Why a session is over is an ErrClosed that may say more: ErrRemoved, ErrPeerGone,
// ErrStopped, ErrStore. Methods that wait return the error of their context when that ends first.
//
// What others say that is wrong ends nothing: it is refused, counted in App.Stats, and told by the event Refused.
//
// # Tests
//
// Package session/sessiontest is a network in memory for tests of agents: it loses and delays messages and cuts apps off as a script
// says, in simulated time.
//
// # Goroutines
//
//	App ◀─▶ uplink.Keeper ── reader ──ring──▶ worker: sessions, a slice each in turn ──▶ Receive, Events
//	  │                        ▲                 │
//	  └── Publish ──posted───────────────────────┘──▶ connection, or the session's lane while that has no room
//
// A session belongs to one worker, and no session has a goroutine. Signatures of its data are verified by others that have time, too, and a
// Verifier is asked by goroutines that there are as long as there is something to ask. All exported methods are safe for all.
package session
