// Package a2aslim has agents of A2A, the Agent2Agent protocol, served and called over SLIM: on SLIM names, encrypted from end to end. Agents
// and clients are those of github.com/a2aproject/a2a-go, and may be mixed with those of slima2a, upstream's library for Python.
//
// # An agent
//
// What a2a-go makes of an executor, a request handler, is registered with a server of calls, which belongs to an app:
//
//	handler := a2asrv.NewHandler(executor)
//	server := rpc.NewServer(app, rpc.ServerOptions{})
//	a2aslim.Register(server, handler, a2aslim.ServerOptions{Card: card})
//	err := server.Serve(ctx)
//
// The agent is reached by the name of the app. Its card says so in the way of upstream's, with the name as URL:
//
//	card := &a2a.AgentCard{
//		Name: "Travel agent", URL: "org/ns/travel", PreferredTransport: a2aslim.Transport, ProtocolVersion: "1.0",
//		Capabilities: a2a.AgentCapabilities{Streaming: true}, ...
//	}
//
// # A client
//
//	client, err := a2aclient.NewFromCard(ctx, card, a2aslim.Transports(app, a2aslim.ClientOptions{})...)
//	if err != nil {
//		return err
//	}
//	defer client.Destroy()
//	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.TextPart{Text: "To Rome, by train"})
//	for event, err := range client.SendStreamingMessage(ctx, &a2a.MessageSendParams{Message: message}) {
//		...
//	}
//
// A client that has no card but a name makes one of it:
//
//	client, err := a2aclient.NewFromEndpoints(ctx, []a2a.AgentInterface{{URL: "org/ns/travel", Transport: a2aslim.Transport}}, transports...)
//
// # Versions
//
// Register serves A2A 1.0 and 0.3 beside each other: they are services of different names, and a caller says by its choice which one it
// speaks. A client speaks the one that the agent's card says, or that ClientOptions.Version does. a2a-go v0.3.3 has the types of 0.3 only; what
// 1.0 has beyond those does not reach a handler: ListTasks is answered with a2a.ErrUnsupportedOperation, a push configuration has one scheme
// of authentication, a device's OAuth flow is left out of cards, and a tenant is found in the RequestMeta alone.
//
// # Errors
//
// An error of a handler that is one of package a2a, or wraps one, is that for the caller, too, for errors.Is. Its code, which A2A's text for
// SLIMRPC says, and its text, which begins with the name that slima2a gives it, are in an *rpc.Error, for errors.As. Other errors of calls,
// such as rpc.Unavailable of an agent that has gone, are those of package rpc.
//
// # Deadlines and cancellation
//
// The deadline of a context bounds a call at both ends. Without one it lasts ten hours at most, also at agents of upstream's; here
// rpc.ServerOptions.MaxTime says otherwise. A context that ends, or a loop over a stream that is left, gives the call up, and
// the agent is told; the task goes on, and can be subscribed to again, by ResubscribeToTask. A task ends by CancelTask.
package a2aslim
