package main

import (
	"google.golang.org/protobuf/compiler/protogen"
)

const compatPackage = protogen.GoImportPath("github.com/seed31b3bfd0/slimgo/session/rpc/slimrpc")

// compatWriter writes the stubs of one service by the names that upstream's generator gives them.
type compatWriter struct{ writer }

func (w compatWriter) compat(name string) string {
	return w.QualifiedGoIdent(compatPackage.Ident(name))
}

func (w compatWriter) service() {
	w.client("Client", "calls "+string(w.s.Desc.FullName())+" of one app.", "NewChannel", w.call)
	w.client("GroupClient", "calls "+string(w.s.Desc.FullName())+" of all members of a group.", "ChannelNewGroup", w.groupCall)
	w.server()
}

// call is what a method of a client returns, and the function that does it.
func (w compatWriter) call(m *protogen.Method) (result, function string) {
	req, res := w.types(m)
	types := "[" + req + ", " + res + "]"
	switch {
	case m.Desc.IsStreamingClient() && m.Desc.IsStreamingServer():
		return w.compat("ClientBidiStream") + "[*" + req + ", *" + res + "]", w.compat("CallStreamStream") + types
	case m.Desc.IsStreamingClient():
		return w.compat("ClientRequestStream") + "[*" + req + ", *" + res + "]", w.compat("CallStreamUnary") + types
	case m.Desc.IsStreamingServer():
		return w.compat("ResponseStream") + "[*" + res + "]", w.compat("CallUnaryStream") + types
	}
	return "*" + res, w.compat("CallUnary") + types
}

// groupCall is that of a client of a group.
func (w compatWriter) groupCall(m *protogen.Method) (result, function string) {
	req, res := w.types(m)
	types := "[" + req + ", " + res + "]"
	if m.Desc.IsStreamingClient() {
		return w.compat("MulticastClientBidiStream") + "[*" + req + ", *" + res + "]", w.compat("CallMulticastStream") + types
	}
	return w.compat("MulticastResponseStream") + "[*" + res + "]", w.compat("CallMulticastUnary") + types
}

func (w compatWriter) client(suffix, does, from string, call func(m *protogen.Method) (result, function string)) {
	name := w.name + suffix
	w.P()
	w.serviceDoc(name + " " + does)
	w.P("type ", name, " interface {")
	for _, m := range w.s.Methods {
		result, _ := call(m)
		w.methodDoc(m)
		w.P(m.GoName, "(", w.parameters(m), ") (", result, ", error)")
	}
	w.P("}")
	w.P()
	w.P("// ", name, "Impl is what New", name, " makes.")
	w.P("type ", name, "Impl struct{ channel ", w.compat("ChannelInterface"), " }")
	w.P()
	w.P("// New", name, " returns a client that calls by a channel of ", from, ".")
	w.P("func New", name, "(channel ", w.compat("ChannelInterface"), ") ", name, " { return &", name, "Impl{channel} }")
	for _, m := range w.s.Methods {
		result, function := call(m)
		c := w.local("c")
		arguments := w.local("ctx") + ", " + c + ".channel, " + w.variable(m)
		if !m.Desc.IsStreamingClient() {
			arguments += ", " + w.local("req")
		}
		w.P()
		w.P("// ", m.GoName, " implements ", name, ".")
		w.P("func (", c, " *", name, "Impl) ", m.GoName, "(", w.parameters(m), ") (", result, ", error) {")
		w.P("return ", function, "(", arguments, ")")
		w.P("}")
	}
}

// server is as that of a writer.
func (w compatWriter) server() {
	w.serverBy(serverForm{
		handler: w.handler,
		code:    "UNIMPLEMENTED",
		unimplemented: func(m *protogen.Method) string {
			return w.compat("NewRpcErrorRpc") + "(" + w.compat("RpcCodeUnimplemented") + ", " + w.unimplemented(m) + ", nil)"
		},
		registers: "has a server serve the methods by impl.",
		server:    "server " + w.compat("ServerInterface"),
		impl:      "impl",
		register:  func(m *protogen.Method) string { return w.compat("Register"+shape(m)) + "(server, " },
	})
}

// shape is what upstream calls the shape of a method.
func shape(m *protogen.Method) string {
	from, to := "Unary", "Unary"
	if m.Desc.IsStreamingClient() {
		from = "Stream"
	}
	if m.Desc.IsStreamingServer() {
		to = "Stream"
	}
	return from + to
}

// handler is as that of writer.
func (w compatWriter) handler(m *protogen.Method, ctx, request, stream string) (parameters, result, zero string) {
	req, res := w.types(m)
	parameters, result, zero = ctx+w.ctx(), "(*"+res+", error)", "nil, "
	switch {
	case m.Desc.IsStreamingClient() && m.Desc.IsStreamingServer():
		return parameters + ", " + stream + w.compat("ServerBidiStream") + "[*" + req + ", *" + res + "]", "error", ""
	case m.Desc.IsStreamingClient():
		return parameters + ", " + stream + w.compat("ResponseStream") + "[*" + req + "]", result, zero
	case m.Desc.IsStreamingServer():
		return parameters + ", " + request + "*" + req + ", " + stream + w.compat("ServerStream") + "[*" + res + "]", "error", ""
	}
	return parameters + ", " + request + "*" + req, result, zero
}
