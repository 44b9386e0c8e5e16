// Package mcpslim carries the Model Context Protocol over SLIM: tools and resources of agents that are reached by name, through nodes, behind
// firewalls and NAT, in sessions that are encrypted from end to end. It is a transport of the official SDK,
// github.com/modelcontextprotocol/go-sdk/mcp, for clients and servers, and it speaks what the Python package slim-mcp speaks: clients and
// servers of both can be mixed.
//
// # A server
//
// An mcp.Server is what it is with any other transport. A Server of this package gives it the sessions that others open to an app:
//
//	tools := mcp.NewServer(&mcp.Implementation{Name: "clock", Version: "v1"}, nil)
//	mcp.AddTool(tools, &mcp.Tool{Name: "time", Description: "the time of day"}, tellTime)
//
//	app, err := session.Connect(ctx, session.Options{Name: session.MustName("org/demo/clock"), Secret: secret, Nodes: nodes})
//	if err != nil {
//		return err
//	}
//	defer app.Close(context.WithoutCancel(ctx))
//	return mcpslim.NewServer(app, tools, mcpslim.ServerOptions{}).Serve(ctx)
//
// Every client has a session of its own. Tools learn who calls by CallerOf; ServerOptions.Accept decides who may call at all.
//
// # A client
//
//	client := mcp.NewClient(&mcp.Implementation{Name: "alice", Version: "v1"}, nil)
//	s, err := client.Connect(ctx, &mcpslim.ClientTransport{App: app, Server: session.MustName("org/demo/clock")}, nil)
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "time"})
//
// To close it does not wait for the server to hear of that; App.Close does.
//
// The session is encrypted unless ClientTransport.Session says otherwise; the Python package opens plain ones. Servers take both.
//
// # When the other end goes
//
// A client that closes its session ends those of its calls that still run: the contexts of their tools are over. So does one that is
// killed, as soon as it is taken for offline: thirty seconds after its last word, or ten after something that it has not acknowledged. Calls
// of a server that goes offline fail at that time, with mcp.ErrConnectionClosed or ErrPeerOffline. A connection that has ended does not come
// back: call Client.Connect again, which finds the server that was started anew, or another instance of its name. A connection to the node
// that is lost ends nothing, as long as it is back before that; what has not got through in about ten seconds ends the connection at its
// sender, with ErrNotDelivered, and at the other end half a minute later.
//
// # Errors and bounds
//
// What a peer says that is no message of MCP ends nothing. It is answered with the error that JSON-RPC has for it, as far as it can be, and
// counted in Server.Stats; a peer that goes on so for a hundred messages loses its session. A session has a thousand calls at a time, unless
// Calls says otherwise; more are answered with CodeBusy. A tool that panics fails its call and nothing else. A result that is longer than a
// session takes, which is about 4 MiB, becomes an error of the call; a request that is so fails with CodeTooLarge, and the connection goes on.
//
// Handlers of notifications run one after the other, and so do not wait: meanwhile the SDK keeps what comes, without a bound.
package mcpslim
