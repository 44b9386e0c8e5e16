package uplink_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// listen serves every connection in turn and returns the address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serve(nc)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// greets answers the first bytes with text and hangs up.
func greets(text string) func(net.Conn) {
	return func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 4096))
		_, _ = nc.Write([]byte(text))
		_ = nc.Close()
	}
}

// grpcServer is a server of another service: it answers all calls with the status.
func grpcServer(t *testing.T, code codes.Code) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return status.Error(code, "not today") }))
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-served })
	return l.Addr().String()
}

// webServer answers everything with the code: over HTTP/2, HTTP/1 or TLS.
func webServer(t *testing.T, protocol string, code int) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(protocol == "HTTP/2")
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if protocol == "TLS" {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// An address that is no plain SLIM listener is called what it seems to be, and what to do is said.
func TestRefusalsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		want       []string
	}{
		{"a TLS alert", listen(t, greets("\x15\x03\x03\x00\x02\x02\x32")), []string{"seems to be a listener with TLS", "give https://"}},
		{"crypto/tls", webServer(t, "TLS", 200), []string{"a listener with TLS (https://", "check the address"}},
		{"HTTP/1", webServer(t, "HTTP/1", 400), []string{"HTTP/1 only: it answered \"HTTP/1.1 4", "give the address of a node's dataplane listener"}},
		{"a bare page", listen(t, greets("<!DOCTYPE HTML>\n<html>")), []string{`another protocol: it answered "<!DOCTYPE HTML>"`, "give the address"}},
		{"NATS", listen(t, greets(`INFO {"server_id":"x"}`+"\r\n")), []string{"seems to be a NATS server (nats://"}},
		{"hangs up", listen(t, greets("")), []string{"hung up without a word", "check the address"}},
		{"an HTTP/2 server without the channel", webServer(t, "HTTP/2", 404), []string{"no SLIM node", "HTTP status 404", "give the address"}},
		{"an HTTP/2 server that wants credentials", webServer(t, "HTTP/2", 401), []string{"wants credentials", "without auth", "HTTP status 401"}},
		{"another gRPC service", grpcServer(t, codes.Unimplemented), []string{"no SLIM node", `gRPC status 12: "not today"`}},
		{"credentials of gRPC", grpcServer(t, codes.Unauthenticated), []string{"wants credentials", "gRPC status 16"}},
		{"overload", grpcServer(t, codes.Unavailable), []string{"takes no connections now", "try again"}},
		{"settings, and then nothing", listen(t, greets("\x00\x00\x00\x04\x00\x00\x00\x00\x00")), []string{"speaks HTTP, but did not open the channel", "log"}},
		{"nobody", "127.0.0.1:1", []string{"nobody listens there", "start the node"}},
		{"nobody behind a path", "unix:///no/such/socket", []string{"nobody listens there", "start the node"}},
		{"TLS of nobody's", "wss://" + webServer(t, "TLS", 200), []string{"of no authority known here", "give its authority"}},
		{"TLS wanted of a web server", "https://" + webServer(t, "HTTP/1", 200), []string{"without TLS", "give http://"}},
		{"a WebSocket where there is none", "ws://" + webServer(t, "HTTP/1", 404), []string{"did not open the channel", "404 Not Found"}},
		{"a WebSocket that wants credentials", "ws://" + webServer(t, "HTTP/1", 403), []string{"wants credentials", "403 Forbidden"}},
		{"a scheme of nobody's", "htp://127.0.0.1:1", []string{`no scheme "htp"; did you mean http?`}},
		{"no port", "https://localhost", []string{"want host:port"}},
		{"a path that is no path", "unix://run/slim.sock", []string{"want unix:///PATH"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := uplink.Dial(t.Context(), c.addr, nil)
			var e *uplink.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			text := e.Advice() + ": " + e.Error()
			for _, want := range append(c.want, c.addr) {
				if !strings.Contains(text, want) {
					t.Errorf("got %s, want %s", text, want)
				}
			}
		})
	}
}
