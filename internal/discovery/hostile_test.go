package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/discovery/kubetest"
)

// answers is an API server whose answers are made by a function, on the clock of a bubble.
type answers func(r *http.Request) string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: io.NopCloser(&body{r.Context(), strings.NewReader(a(r))})}, nil
}

// body is text whose end never comes: who reads on waits for the end of the request.
type body struct {
	ctx  context.Context
	text io.Reader
}

func (b *body) Read(p []byte) (int, error) {
	if n, err := b.text.Read(p); err == nil {
		return n, nil
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

// api asks a for everything.
func (a answers) api(t *testing.T, s *kubetest.Server) *API {
	t.Helper()
	x := trusted(t, s)
	x.client.Transport = a
	return x
}

// trusted has the credentials of a pod, read: its Transport may be another one.
func trusted(t *testing.T, s *kubetest.Server) *API {
	t.Helper()
	x := credentials(t, s)
	if err := x.trust(); err != nil {
		t.Fatal(err)
	}
	return x
}

// Lists without an end, of too much, or of garbage end with an error, leave what was known, and are said once. Rules: P-disc-3.
func TestHostileLists(t *testing.T) {
	s := kubetest.New(t)
	item := func(name string, endpoints string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q},"ports":[{"port":46357}],"endpoints":[%s]}`, name, endpoints)
	}
	page := func(next string, items ...string) string {
		return fmt.Sprintf(`{"metadata":{"resourceVersion":"7","continue":%q},"items":[%s]}`, next, strings.Join(items, ","))
	}
	pod := `{"addresses":["10.0.0.1"],"targetRef":{"kind":"Pod","name":"slim-0"}}`
	n := 0
	long := os.Getenv("SLIMGO_TEST_LONG") != ""
	type hostile struct {
		name, want string
		answer     answers
	}
	large := []hostile{ // tens of megabytes
		{"pods without end", "or 65536 pods", func(*http.Request) string {
			n++
			return page("again", item(fmt.Sprint("a", n), strings.TrimSuffix(strings.Repeat(pod+",", 1000), ",")))
		}},
		{"bytes without end", "sends more than is read", func(*http.Request) string { return `{"items":"` + strings.Repeat("x", 33<<20) }},
	}
	if !long {
		large = nil
	}
	for _, c := range append(large, []hostile{
		{"empty pages without end", "no end after", func(*http.Request) string { return page("again") }},
		{"slices without end", "more than 4096 EndpointSlices", func(*http.Request) string {
			var items []string
			for range 64 {
				n++
				items = append(items, item(fmt.Sprint("a", n), ""))
			}
			return page("again", items...)
		}},
		{"a slice without end", "has more than 2097152 bytes", func(*http.Request) string { return page("", item("a", strings.Repeat("{},", 1<<20)+"{}")) }},
		{"a long name", "a name of 300 bytes", func(*http.Request) string { return page("", item(strings.Repeat("x", 300), "")) }},
		{"items of another type", "items are no list", func(*http.Request) string { return `{"items":{}}` }},
		{"slices of another type", "cannot unmarshal", func(*http.Request) string { return `{"items":[[]]}` }},
		{"garbage", "invalid character", func(*http.Request) string { return "<html>" }},
		{"nothing", "deadline exceeded", func(*http.Request) string { return "" }},
		{"half a list", "deadline exceeded", func(*http.Request) string { return page("")[:30] }},
	}...) {
		t.Run(c.name, func(t *testing.T) {
			api := c.answer.api(t, s)
			synctest.Test(t, func(t *testing.T) {
				limit := 2 * time.Second // two attempts
				if strings.HasSuffix(c.name, "without end") && !long {
					limit = time.Second / 2 // one, of which each takes megabytes
				}
				if strings.Contains(c.want, "deadline") {
					limit = 2*kubeTimeout + 2*time.Second
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				var said []string
				k := kubernetes(api)
				k.Pause = time.Second
				k.Run(ctx, func(all []Peer) { t.Errorf("told %v", all) }, func(err error) { said = append(said, err.Error()) })
				if len(said) != 1 || !strings.Contains(said[0], c.want) {
					t.Errorf("said %.300q, want %q, once", said, c.want)
				}
			})
		})
	}
}

// A watch that says nothing is given up in time, and what is known stays; one that tells more than there may be is listed again.
func TestHostileWatches(t *testing.T) {
	s := kubetest.New(t)
	list := `{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"},"ports":[{"port":46357}],` +
		`"endpoints":[{"addresses":["10.0.0.1"],"targetRef":{"kind":"Pod","name":"slim-0"}}]}]}`
	for _, c := range []struct {
		name, event, want string
		lists             int // at least
	}{
		{"silence", "", "deadline exceeded", 1},
		{"half an event", `{"type":"MODI`, "deadline exceeded", 1},
		{"an error without a code", `{"type":"ERROR","object":[]}`, "the API server says", 1},
		{"a slice that is too much", `{"type":"ADDED","object":{"metadata":{"name":"b"},"ports":[{"port":46357}],"endpoints":[` +
			strings.TrimSuffix(strings.Repeat(`{"addresses":["1"],"targetRef":{"kind":"Pod","name":"x"}},`, 30000), ",") + "]}}", "", 1},
		{"a long name", `{"type":"ADDED","object":{"metadata":{"name":"` + strings.Repeat("x", 300) + `"}}}`, "a name of 300 bytes", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			lists := 0
			api := answers(func(r *http.Request) string {
				if r.URL.Query().Get("watch") != "" {
					return c.event
				}
				lists++
				return list
			}).api(t, s)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), kubeWatch+2*time.Minute)
				defer cancel()
				told, said := 0, errors.New("")
				k := kubernetes(api)
				k.Pause = time.Second
				k.Run(ctx, func([]Peer) { told++ }, func(err error) {
					if err != nil {
						said = err
					}
				})
				if told == 0 || lists < c.lists || !strings.Contains(said.Error(), c.want) {
					t.Errorf("%d lists, told %d times, said %.300v, want %d lists, and %q", lists, told, said, c.lists, c.want)
				}
			})
		})
	}
}

// A slice that changes again and again counts once, with as many pods as it has now.
func TestASliceThatChangesCountsOnce(t *testing.T) {
	k := &Kubernetes{Port: 46357}
	s := known{peers: map[string][]Peer{}}
	pods := strings.TrimSuffix(strings.Repeat(`{"addresses":["10.0.0.1"],"targetRef":{"kind":"Pod","name":"slim-0"}},`, 1000), ",")
	for range maxPods/1000 + 2 {
		if err := k.event("MODIFIED", []byte(`{"metadata":{"name":"a"},"ports":[{"port":46357}],"endpoints":[`+pods+"]}"), &s); err != nil {
			t.Fatal(err)
		}
	}
	if s.pods != 1000 {
		t.Errorf("%d pods, want 1000", s.pods)
	}
}

// trips is an API server that is asked without a socket.
type trips func(r *http.Request) *http.Response

func (f trips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// An API server that sends a node elsewhere is not followed: the token is for it alone. Rules: P-disc-3.
func TestRedirectionsAreNotFollowed(t *testing.T) {
	api := trusted(t, kubetest.New(t))
	asked := 0
	api.client.Transport = trips(func(r *http.Request) *http.Response {
		if asked++; asked > 1 {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}
		}
		return &http.Response{StatusCode: http.StatusTemporaryRedirect, Status: "307 Temporary Redirect", Header: http.Header{"Location": {"https://elsewhere.example"}},
			Body: http.NoBody, Request: r}
	})
	if _, err := api.get(t.Context(), "/x", nil); err == nil || !strings.Contains(err.Error(), "307") || asked != 1 {
		t.Errorf("%d requests, and %v; want one, and the answer as an error", asked, err)
	}
}

// A watch may say any number of bytes: only an event is bounded. It goes on from the version of the last one. Rules: P-disc-3.
func TestAWatchGoesOnFromItsLastEvent(t *testing.T) {
	s := kubetest.New(t)
	api := trusted(t, s)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var from []string
		api.client.Transport = trips(func(r *http.Request) *http.Response {
			text := `{"metadata":{"resourceVersion":"1"}}`
			if q := r.URL.Query(); q.Get("watch") != "" {
				if from = append(from, q.Get("resourceVersion")); len(from) == 2 {
					cancel()
				}
				event := `{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"%d","annotations":{"x":"` + strings.Repeat("x", 1<<10) + `"}}}}` + "\n"
				var all strings.Builder
				for i := range 2 * maxEvent >> 10 {
					fmt.Fprintf(&all, event, i+2)
				}
				text = all.String()
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}
		})
		k := kubernetes(api)
		k.Pause = time.Second
		k.Run(ctx, func([]Peer) {}, func(error) {})
		if want := fmt.Sprint([]string{"1", fmt.Sprint(2*maxEvent>>10 + 1)}); fmt.Sprint(from) != want {
			t.Errorf("watches from %v, want %s", from, want)
		}
	})
}

// A server that forgets each version at once is not asked at ever the same pace, and nothing is said of it: it may happen to every watch.
// Rules: P-disc-3.
func TestAServerThatForgetsAtOnce(t *testing.T) {
	s := kubetest.New(t)
	for name, watch := range map[string]string{"as an answer": "", "as an event": `{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}`} {
		t.Run(name, func(t *testing.T) {
			api := trusted(t, s)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				lists := 0
				api.client.Transport = trips(func(r *http.Request) *http.Response {
					text, code := watch, http.StatusOK
					switch {
					case r.URL.Query().Get("watch") == "":
						lists++
						text = `{"metadata":{"resourceVersion":"1"}}`
					case watch == "":
						code = http.StatusGone
					}
					return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}
				})
				k := kubernetes(api)
				k.Pause = time.Second
				k.Run(ctx, func([]Peer) {}, func(err error) {
					if err != nil {
						t.Errorf("said: %v", err)
					}
				})
				if lists < 10 || lists > 40 {
					t.Errorf("%d lists in ten minutes, want some that come at ever longer pauses", lists)
				}
			})
		})
	}
}

// A watch that lasted is followed by another one soon, whatever has ended it and however quiet it was: what closes idle connections is no
// failing server. Rules: P-disc-3.
func TestAWatchThatLastsIsNoFailure(t *testing.T) {
	s := kubetest.New(t)
	api := trusted(t, s)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		watches := 0
		api.client.Transport = trips(func(r *http.Request) *http.Response {
			list := io.NopCloser(strings.NewReader(`{"metadata":{"resourceVersion":"1"}}`))
			answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: list}
			if r.URL.Query().Get("watch") != "" {
				watches++
				from, to := io.Pipe()
				time.AfterFunc(10*time.Second, func() { to.CloseWithError(io.ErrUnexpectedEOF) })
				answer.Body = from
			}
			return answer
		})
		k := kubernetes(api)
		k.Pause = time.Second
		k.Run(ctx, func([]Peer) {}, func(error) {})
		if watches < 600/11-1 {
			t.Errorf("%d watches of ten seconds in ten minutes, want one each eleven seconds", watches)
		}
	})
}
