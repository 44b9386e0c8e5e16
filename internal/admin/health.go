package admin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// deadAfter is how long a loop may not run before the process had better be started again. A loop that is late for less
// is not ready, and may recover: a machine that was stopped, or has too much to do.
const deadAfter = time.Minute

// livez answers whether the process is worth to be kept.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	var err error
	for _, x := range s.o.Services() {
		stats := x.Node.Stats()
		if stats.Behind >= deadAfter {
			err = errors.Join(err, fmt.Errorf("%s: an event loop has not run for %v", x.ID, stats.Behind.Round(time.Second)))
		}
	}
	probe(w, err)
}

// readyz answers whether clients may be sent here: all services have started, accept and serve, and none stops.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) { probe(w, s.ready()) }

func (s *Server) ready() error {
	if err := s.o.Ready(); err != nil {
		return err
	}
	var err error
	for _, x := range s.o.Services() {
		if e := x.Node.Ready(); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", x.ID, e))
		}
	}
	return err
}

func probe(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, err.Error()+"\n")
		return
	}
	io.WriteString(w, "ok\n")
}
