// Package rpc is SLIMRPC: apps that call each other, by sessions of package session, one to one and one to many. Callers and servers that use
// this package and those on upstream's Rust and Python libraries can be mixed.
//
// # A server
//
// A server belongs to an app, and is reached by its name. Generated code registers a service; without it a method is served by a function,
// and Raw stands for messages that are sent as they are:
//
//	var add = rpc.Method{Service: "acme.Calculator", Name: "Add"}
//
//	server := rpc.NewServer(app, rpc.ServerOptions{})
//	rpc.HandleUnary(server, add, func(ctx context.Context, req *pb.AddRequest) (*pb.AddReply, error) {
//		if req.B == 0 {
//			return nil, rpc.Errorf(rpc.InvalidArgument, "nothing to add to %d", req.A)
//		}
//		return &pb.AddReply{Sum: req.A + req.B}, nil
//	})
//	err := server.Serve(ctx)
//
// Methods may be registered while the server serves. HandleServerStream, HandleClientStream and HandleBidi are for streams. InfoOf tells a
// handler who calls: in an encrypted session, which is what callers open unless they say otherwise, Caller.Subject is verified. In a plain group
// members can answer in each other's names.
//
// # A client
//
//	client := rpc.NewClient(app, session.MustName("org/ns/calculator"), rpc.CallOptions{})
//	defer client.Close(ctx)
//	res, err := rpc.CallUnary[pb.AddRequest, pb.AddReply](ctx, client, add, &pb.AddRequest{A: 1, B: 2})
//
// All calls of a client share one session, as many as there are at a time. The first call opens it. A server that is closed, killed or
// offline fails the calls that it had, with Unavailable, and the next call opens another session. Nothing is called twice unless the caller
// does.
//
// # Deadlines and cancellation
//
// The context of a call bounds all of it, the opening of a session included. Its deadline is sent as a point in time, so that clocks of both
// ends must agree as far as deadlines matter (ServerOptions.Skew); a clock that is set meanwhile changes nothing of calls that go on. A call without one has CallOptions.Timeout. When a context is over
// the call is, and the server is told: the context of a handler of this package ends, and other servers find at least the stream
// of requests broken off.
//
// # Errors
//
// Errors of calls are an *Error with a Code, by the numbers of gRPC:
//
//	if errors.Is(err, rpc.NotFound) {
//
// What a handler returns is what its caller gets: the code and the message, and nothing else. An error that says no code is Unknown. What
// this end finds by itself can be tested for with errors.Is, too: context.DeadlineExceeded, session.ErrTimeout and so on. Streams
// end by io.EOF, and by that again and again.
//
// # Metadata
//
// WithMetadata has calls say more than a request does; handlers find it in Info.Metadata. It is in the clear, and nothing goes back that way.
//
// # Groups
//
// A Group calls several apps at once, by a session of all of them. Each reply is that of a member, and so is each error:
//
//	group := rpc.NewGroup(app, members, rpc.GroupOptions{})
//	for r, err := range rpc.Ask[pb.Question, pb.Answer](ctx, group, poll, &pb.Question{Text: "lunch?"}) {
//		if err != nil {
//			log.Print(err) // says of which member
//			continue
//		}
//		log.Print(r.From, r.Message)
//	}
//
// The loop ends when every member has answered, failed, gone, or has run out of time, and a slow one holds up nobody else. First and Quorum
// stop as soon as one has, or so many have, answered. Members may be added and removed at any time; one that was away is invited again.
// One that acknowledges nothing is another matter: what was sent waits for it, until nothing more may be under way, and then all calls of the
// group do, until it is given up, after ten seconds by default.
//
// # Pressure
//
// Send waits while much of the session is under way, as Session.Publish does. Nothing tells the other end to wait for one call alone: what
// has come and is not received takes memory, and a call that has too much of that fails with ResourceExhausted (CallOptions.Buffer,
// ServerOptions.Buffer, SessionBuffer), while all others go on. So it does where all calls together have too much (TotalBuffer of either), unless
// its own part is small.
//
// # Interceptors
//
// A ClientInterceptor sits between stubs and calls, a ServerInterceptor between the server and handlers, of all shapes: both see a call as a
// stream, a unary one too.
//
// # Goroutines
//
//	caller ── Send ──▶ Session.Publish            Session.Receive ──▶ reader ──▶ call's inbox ── Receive ──▶ caller
//	                                              Session.NextEvent ─▶ watcher ──▶ calls of who has gone
//
// A session has a reader and a watcher at each end, a call that is served a goroutine, and a call that is made none. Readers wait for nobody.
package rpc
