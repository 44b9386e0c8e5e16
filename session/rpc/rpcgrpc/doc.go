// Package rpcgrpc has services and stubs of grpc-go go by SLIMRPC, so that what there is moves without a rewrite.
//
// A service that is written for gRPC is served to callers of package rpc:
//
//	server := rpc.NewServer(app, rpc.ServerOptions{})
//	pb.RegisterCalculatorServer(rpcgrpc.Registrar(server), calculator)
//	err := server.Serve(ctx)
//
// Stubs of gRPC call such, and any other service of SLIMRPC:
//
//	client := rpc.NewClient(app, session.MustName("org/ns/calculator"), rpc.CallOptions{})
//	calculator := pb.NewCalculatorClient(rpcgrpc.Conn(client))
//
// And a server of gRPC passes on to SLIMRPC what it has no service for:
//
//	gateway := grpc.NewServer(rpcgrpc.Gateway(client)...)
//
// Errors are those of gRPC, with status.Status, on its side, and *rpc.Error on the other. Metadata that a caller sends arrives as such; several
// values of a key are one, with commas between them, but of keys that end in -bin, whose bytes go in base64. There are no headers and trailers
// of servers: those that are set go nowhere. Handlers find their method by grpc.Method, the name of the caller, which nobody has verified, by
// peer.FromContext, and what is verified by rpc.InfoOf.
package rpcgrpc
