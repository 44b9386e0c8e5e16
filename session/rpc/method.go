package rpc

import "strings"

// Method names what is called, and how. The shape is known to both ends and is not sent: it does not have to be the same.
type Method struct {
	Service string // full name, such as acme.Calculator
	Name    string // such as Add

	ClientStreams, ServerStreams bool // there may be any number of requests, or of replies; else one
}

// ParseMethod reads /acme.Calculator/Add, as gRPC writes it, of a unary method; the first slash may be left out.
func ParseMethod(path string) (Method, error) {
	service, name, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	m := Method{Service: service, Name: name}
	if !ok || m.check() != nil || strings.Contains(name, "/") {
		return Method{}, Errorf(InvalidArgument, "method %q is not of the form /package.Service/Method", clip(path, 200))
	}
	return m, nil
}

// String returns /acme.Calculator/Add.
func (m Method) String() string { return "/" + m.Service + "/" + m.Name }

func (m Method) check() error {
	if m.Service == "" || m.Name == "" {
		return Errorf(InvalidArgument, "a call of service %q, method %q: both need a name", m.Service, m.Name)
	}
	return nil
}

// key is by what a server finds the method. Some of upstream's generators write a dot before a service of a file without a package
// (P-rpc-4).
func (m Method) key() methodKey { return methodKey{strings.TrimPrefix(m.Service, "."), m.Name} }

type methodKey struct{ service, name string }
