package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router"
)

// Node is what the server asks of a data plane. A *router.Node is one.
type Node interface {
	About() router.About
	Stats() router.Stats
	Ready() error
	Connections(ctx context.Context, names int) ([]router.Connection, error)
	Names(ctx context.Context, wanted func(name string, holders []uint64) bool, most, holders, steps int) (
		names []router.HeldName, complete bool, err error)
	Links() []router.LinkStatus
	Peers() []router.Peer
	Guards() []auth.Tally
	Trouble(ctx context.Context) ([]router.Refusal, []router.Death, error)
}

// Service is a node with the name that it has in the configuration.
type Service struct {
	ID   string
	Node Node
	// Control tells of its control channel; nil: it has none. Safe for all.
	Control func() Control
}

// Build says what program runs.
type Build struct {
	Version string `json:"version"`
	SHA     string `json:"sha,omitempty"`
	Date    string `json:"date,omitempty"`
	Go      string `json:"go"`
}

// Config is the configuration of the process. What it points to is immutable.
type Config struct {
	File      string    `json:"file,omitempty"`       // "": none
	Loaded    time.Time `json:"loaded"`               // when what is in effect was loaded
	Tried     time.Time `json:"last_reload,omitzero"` // zero: there was no reload
	Succeeded bool      `json:"succeeded"`            // the last reload did, or there was none
	Reloads   uint64    `json:"reloads"`              // that succeeded
	Failures  uint64    `json:"failures"`             // reloads that changed nothing

	Faults      []string `json:"faults,omitempty"`        // of the last reload
	NeedRestart []string `json:"needs_restart,omitempty"` // keys that are in the file, but not in effect
}

// Options configure a Server. Immutable after Start.
type Options struct {
	// Addr is where to listen, HOST:PORT; an empty host is this machine only. See ParseAddr.
	Addr string
	// Services returns the services that run now. Safe for all.
	Services func() []Service
	// Ready returns nil once all services run and until the end begins, otherwise why the process is not ready. Safe
	// for all.
	Ready func() error
	// Config says what configuration is in effect; nil: it is not known. Safe for all.
	Config func() Config
	// Certificates are those in use; nil: they are not known. Safe for all.
	Certificates func() []CertificateSource
	// Auth is what authentication stands on and may change; nil: it is not known. Safe for all.
	Auth func() []AuthSource
	// AuditDropped is how many events are not in the audit log and should be; nil: there is none. Safe for all.
	AuditDropped func() uint64
	Build        Build
	// Status shows connections and names to everybody who can reach Addr. Without it they are for this machine only.
	Status bool
	// Profiles serves net/http/pprof, to whom Status is shown.
	Profiles bool
	Log      *slog.Logger
}

// Bounds of the server: it has few clients, and none of them may cost the node much.
const (
	maxConns       = 64 // sockets; whoever comes after that takes the place of another
	maxRequests    = 8  // at work; probes do not count
	maxHeader      = 16 << 10
	idleTimeout    = time.Minute
	profileTimeout = 10 * time.Minute
)

// Tests lengthen these.
var (
	headerTimeout = 5 * time.Second
	answerTimeout = 15 * time.Second
)

// Server answers operators. Safe for all.
type Server struct {
	o       Options
	addr    net.Addr
	http    http.Server
	done    chan struct{} // closed when Serve has returned
	busy    chan struct{} // has a token for each request at work
	started time.Time
	looks   looks
}

// ParseAddr completes an address: PORT and :PORT are of this machine only, 127.0.0.1:PORT.
func ParseAddr(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = "", s
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || s == "" {
		return "", fmt.Errorf("want PORT or HOST:PORT, such as 9090 or 0.0.0.0:9090")
	} else {
		port = strconv.FormatUint(n, 10)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Start listens and serves until Close. The error is that of listening.
func Start(ctx context.Context, o Options) (*Server, error) {
	addr, err := ParseAddr(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return startOn(ln, o), nil
}

// startOn serves on ln, which it takes over.
func startOn(ln net.Listener, o Options) *Server {
	few := newConns(ln)
	s := &Server{o: o, addr: ln.Addr(), done: make(chan struct{}), busy: make(chan struct{}, maxRequests),
		started: time.Now()}
	s.http = http.Server{
		Handler: s.handler(), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerTimeout, ReadTimeout: 2 * headerTimeout,
		IdleTimeout: idleTimeout, ConnState: few.changed, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(few) // Close ends it
	}()
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.addr }

// Close ends the server and all its connections. It does not wait for whoever is being answered.
func (s *Server) Close() {
	_ = s.http.Close()
	<-s.done
}

func (s *Server) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /livez", s.livez)
	m.HandleFunc("GET /readyz", s.readyz)
	m.Handle("GET /metrics", s.few(answerTimeout, s.metrics()))
	status := func(h http.HandlerFunc) http.Handler { return s.few(answerTimeout, s.trusted(h)) }
	m.Handle("GET /{$}", status(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/status", http.StatusFound)
	}))
	for path, f := range pageFiles {
		m.Handle("GET "+path, status(f.serve))
	}
	m.Handle("GET /status.json", status(s.status))
	if s.o.Profiles {
		profile := func(path string, h http.HandlerFunc) {
			m.Handle("GET /debug/pprof/"+path, s.few(profileTimeout, s.trusted(h)))
		}
		profile("", pprof.Index)
		profile("cmdline", pprof.Cmdline)
		profile("profile", pprof.Profile)
		profile("symbol", pprof.Symbol)
		profile("trace", pprof.Trace)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
		if r.ContentLength != 0 { // nothing here takes a body
			h.Set("Connection", "close")
			http.Error(w, "no body is taken", http.StatusRequestEntityTooLarge)
			return
		}
		m.ServeHTTP(w, r)
	})
}

// few lets maxRequests at most work at the same time, each for so long. An answer that is not long is sent after that: who
// does not read it keeps nobody from working.
func (s *Server) few(limit time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answer{ResponseWriter: w}
		defer answer.send()
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit))
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		h.ServeHTTP(answer, r.WithContext(ctx))
	})
}

// trusted keeps what is told of connections to those who may see it.
func (s *Server) trusted(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.o.Status && !isLocal(r) {
			http.Error(w,
				"connections are shown on this machine only, under its address or localhost; --status shows them to all "+
					"who can reach this port", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

// isLocal reports whether r comes from this machine, and asks for it by address: a page from elsewhere whose name
// leads here would ask by that name.
func isLocal(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	_, err = netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
