// Package slimrpc has the names of upstream's Go bindings, slim-bindings-go and its package slim_rpc (slimrpc before 2.0), so that services and
// callers that were written for those are compiled anew and run without cgo. It stands on package rpc; what is new is better written with
// that, and both can be mixed: a Channel is a rpc.Caller, a Server a rpc.Registrar.
//
// Stubs come from protoc-gen-slimrpc with the option compat:
//
//	protoc --slimrpc_out=. --slimrpc_opt=compat=true,paths=source_relative calculator.proto
//
// Imports change, and how an app is made, which is that of package session:
//
//	import slim_rpc "github.com/seed31b3bfd0/slimgo/session/rpc/slimrpc"
//
//	app, err := session.Connect(ctx, session.Options{Name: session.MustName("org/ns/app"), Secret: secret, Nodes: nodes})
//	server := slim_rpc.NewServer(app, app.Name())
//	pb.RegisterCalculatorServer(server, &calculator{})
//	err = server.ServeAsync()
//
// Streams end as they do there: Recv returns nil and no error, again and again. Other things are mended: errors of handlers that stream
// reach their callers with their codes, also those that are wrapped; who cancels a context ends the call; a handler's context does not pass
// metadata on to the calls that it makes; what a default server does not have is Unimplemented.
package slimrpc
