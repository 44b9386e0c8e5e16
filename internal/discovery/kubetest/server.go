// Package kubetest is an API server of Kubernetes that has EndpointSlices of one service and nothing else, for tests of who lists
// and watches them:
//
//	versions that grow with each change; lists in chunks, all of the version of the first; watches from a version on, from the
//	current state on, or with that state as initial events; bookmarks; 410 for versions that are forgotten; tokens
//
// and what goes wrong with real ones: answers other than 200, watches that end, in order, in the middle of an event or with
// garbage.
package kubetest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The service whose slices are served.
const (
	Namespace = "mesh"
	Service   = "slim"
)

// Path is that of the slices.
const Path = "/apis/discovery.k8s.io/v1/namespaces/" + Namespace + "/endpointslices"

// Server is the API server. Safe for all.
type Server struct {
	*httptest.Server

	t       testing.TB
	mu      sync.Mutex
	changed *sync.Cond

	// Guarded by mu.
	token   string
	version int
	kept    int                    // versions below are forgotten
	states  map[int]map[string]any // slices by name, of each version that is not forgotten
	events  []event
	page    int // most slices in a chunk
	lists   int // first chunks that were asked for
	watches int // that go on
	epoch   int // watches of an older one end
	torn    bool
	garbage []byte // sent by the next watch before it ends
	gate    int    // status of all answers; 0: none
}

// event is a change, or a bookmark.
type event struct {
	version int
	kind    string
	object  any
}

// New starts a server without slices whose token is Token. It ends with the test.
func New(t testing.TB) *Server {
	s := &Server{t: t, token: Token, version: 100, kept: 100, states: map[int]map[string]any{100: {}}, page: 2}
	s.changed = sync.NewCond(&s.mu)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.Cut(nil)
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// Token is what clients prove themselves by at the beginning.
const Token = "one"

// CA is the certificate of the server, PEM.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// Slice is an EndpointSlice in the shape in which the endpoint slice controller writes it. Pods are NAME=ADDRESS, with ! before if
// they are not ready.
func Slice(name string, port int, pods ...string) map[string]any {
	endpoints := []any{}
	for _, p := range pods {
		id, addr, _ := strings.Cut(strings.TrimPrefix(p, "!"), "=")
		ready := !strings.HasPrefix(p, "!")
		endpoints = append(endpoints, map[string]any{
			"addresses": []any{addr}, "conditions": map[string]any{"ready": ready, "serving": ready, "terminating": false},
			"nodeName": "worker-1", "targetRef": map[string]any{"kind": "Pod", "namespace": Namespace, "name": id, "uid": "c0ffee"},
		})
	}
	return map[string]any{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata": map[string]any{"name": name, "namespace": Namespace, "generateName": "slim-",
			"labels": map[string]any{"kubernetes.io/service-name": Service, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
		"endpoints": endpoints, "ports": []any{map[string]any{"name": "data", "protocol": "TCP", "port": port}},
	}
}

// Put adds or changes a slice, given as anything whose JSON is one.
func (s *Server) Put(slice any) {
	s.t.Helper()
	b, err := json.Marshal(slice)
	var object map[string]any
	if err == nil {
		err = json.Unmarshal(b, &object)
	}
	meta, ok := object["metadata"].(map[string]any)
	if err != nil || !ok {
		s.t.Fatalf("no object: %s %v", b, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name, _ := meta["name"].(string)
	kind := "MODIFIED"
	if s.states[s.version][name] == nil {
		kind = "ADDED"
	}
	s.change(kind, name, object)
}

// Remove deletes a slice.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, _ := s.states[s.version][name].(map[string]any)
	if last == nil {
		s.t.Errorf("no slice %s", name)
		return
	}
	object := maps.Clone(last)
	object["metadata"] = maps.Clone(last["metadata"].(map[string]any))
	s.change("DELETED", name, object)
}

func (s *Server) change(kind, name string, object map[string]any) {
	s.version++
	object["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(s.version)
	next := maps.Clone(s.states[s.version-1])
	if next[name] = object; kind == "DELETED" {
		delete(next, name)
	}
	s.states[s.version] = next
	s.tell(kind, object)
}

func (s *Server) tell(kind string, object any) {
	s.events = append(s.events, event{s.version, kind, object})
	s.changed.Broadcast()
}

// Bookmark has something else change, of which watches hear the new version alone.
func (s *Server) Bookmark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.states[s.version] = s.states[s.version-1]
	s.tell("BOOKMARK", bookmark(s.version, nil))
}

func bookmark(version int, annotations map[string]any) any {
	meta := map[string]any{"resourceVersion": strconv.Itoa(version), "creationTimestamp": nil}
	if annotations != nil {
		meta["annotations"] = annotations
	}
	return map[string]any{"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": meta,
		"addressType": "", "endpoints": nil, "ports": nil}
}

// Cut ends all watches, the first after it has sent garbage and not in order, if there is any.
func (s *Server) Cut(garbage []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	s.garbage, s.torn = garbage, false
	s.changed.Broadcast()
}

// Tear ends the first watch that has a further event in the middle of that.
func (s *Server) Tear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.torn = true
}

// Forget compacts: no version before the current one is known any more.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.events, s.states = s.version, nil, map[int]map[string]any{s.version: s.states[s.version]}
}

// Gate has all requests answered with a status; 0: as they should be.
func (s *Server) Gate(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = code
}

// Accept takes another token from now on.
func (s *Server) Accept(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// Lists returns how often the first chunk of a list was asked for.
func (s *Server) Lists() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

// AwaitWatch returns when at least one watch goes on.
func (s *Server) AwaitWatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.watches == 0 {
		s.changed.Wait()
	}
}

// refuse answers with a Status.
func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(failure(code, reason, message))
}

func failure(code int, reason, message string) any {
	return map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": message, "reason": reason, "code": code}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case s.gate != 0:
		refuse(w, s.gate, "", "the gate is closed")
	case r.Header.Get("Authorization") != "Bearer "+s.token:
		refuse(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
	case r.URL.Path != Path || q.Get("labelSelector") != "kubernetes.io/service-name="+Service:
		refuse(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
	case q.Get("watch") != "" && q.Get("watch") != "0" && q.Get("watch") != "false":
		s.serveWatch(w, r)
	default:
		s.serveList(w, q.Get("continue"), q.Get("limit"))
	}
}

// place is what a continue token holds.
type place struct {
	Version int    `json:"rv"`
	Start   string `json:"start"` // the name of the first slice of the next chunk
}

func (s *Server) serveList(w http.ResponseWriter, token, limit string) {
	at := place{Version: s.version}
	if token == "" {
		s.lists++
	} else if b, err := base64.RawURLEncoding.DecodeString(token); err != nil || json.Unmarshal(b, &at) != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", "continue key is not valid")
		return
	}
	state, ok := s.states[at.Version]
	if !ok {
		refuse(w, http.StatusGone, "Expired", "The provided continue parameter is too old to display a consistent list result.")
		return
	}
	names := slices.Sorted(maps.Keys(state))
	from, _ := slices.BinarySearch(names, at.Start)
	to := len(names)
	if n, err := strconv.Atoi(limit); err == nil && n > 0 {
		to = min(to, from+min(n, s.page))
	}
	meta := map[string]any{"resourceVersion": strconv.Itoa(at.Version)}
	if to < len(names) {
		next, _ := json.Marshal(place{at.Version, names[to]})
		meta["continue"], meta["remainingItemCount"] = base64.RawURLEncoding.EncodeToString(next), len(names)-to
	}
	items := []any{}
	for _, n := range names[from:to] {
		item := maps.Clone(state[n].(map[string]any))
		delete(item, "kind") // of typed lists the items have none
		delete(item, "apiVersion")
		items = append(items, item)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": meta, "items": items})
}

func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	ctx := r.Context()
	if n, err := strconv.Atoi(q.Get("timeoutSeconds")); err == nil && n > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(n)*time.Second)
		defer cancel()
	}
	from := q.Get("resourceVersion")
	version, err := strconv.Atoi(from)
	initial, current := q.Get("sendInitialEvents") == "true", from == "" || from == "0"
	w.Header().Set("Content-Type", "application/json")
	send := func(kind string, object any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": object})
		w.(http.Flusher).Flush()
	}
	switch {
	case current || initial:
		version = s.version
		state := s.states[version]
		for _, n := range slices.Sorted(maps.Keys(state)) {
			send("ADDED", state[n])
		}
		if initial {
			send("BOOKMARK", bookmark(version, map[string]any{"k8s.io/initial-events-end": "true"}))
		}
	case err != nil:
		refuse(w, http.StatusBadRequest, "BadRequest", "invalid resource version")
		return
	case version < s.kept: // as the watch cache says it
		send("ERROR", failure(http.StatusGone, "Expired", fmt.Sprintf("too old resource version: %d (%d)", version, s.kept)))
		return
	case version > s.version:
		refuse(w, http.StatusGatewayTimeout, "Timeout", "Too large resource version")
		return
	default:
		w.(http.Flusher).Flush()
	}
	s.watches++
	s.changed.Broadcast()
	defer func() { s.watches-- }()
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})()
	s.follow(ctx, w, version, q.Get("allowWatchBookmarks") == "true", send)
}

// follow sends what has changed since a version until the watch ends.
func (s *Server) follow(ctx context.Context, w http.ResponseWriter, version int, bookmarks bool, send func(string, any)) {
	abort := func(last []byte) {
		_, _ = w.Write(last)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler) // in the middle of an answer
	}
	for epoch := s.epoch; s.epoch == epoch && ctx.Err() == nil; s.changed.Wait() {
		if version < s.kept {
			send("ERROR", failure(http.StatusGone, "Expired", "The resourceVersion for the provided watch is too old."))
			return
		}
		for _, e := range s.events {
			if e.version <= version {
				continue
			}
			version = e.version
			switch {
			case e.kind == "BOOKMARK" && !bookmarks:
			case s.torn:
				s.torn = false
				b, _ := json.Marshal(map[string]any{"type": e.kind, "object": e.object})
				abort(b[:len(b)/2])
			default:
				send(e.kind, e.object)
			}
		}
	}
	if len(s.garbage) > 0 {
		garbage := s.garbage
		s.garbage = nil
		abort(garbage)
	}
}
