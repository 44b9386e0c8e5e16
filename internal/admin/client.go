package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// askTimeout is how long a client waits for an answer.
const askTimeout = 5 * time.Second

// maxAnswer bounds an answer in bytes.
const maxAnswer = 16 << 20

// A client asks no proxy: what it asks stands on this machine or next to it.
var client = &http.Client{Timeout: askTimeout, Transport: &http.Transport{
	DialContext: (&net.Dialer{Timeout: askTimeout}).DialContext, DisableKeepAlives: true}}

// Probe asks the server at addr whether the node is ready: nil if so. live asks whether the process is worth to be kept
// instead.
func Probe(ctx context.Context, addr string, live bool) error {
	path := "/readyz"
	if live {
		path = "/livez"
	}
	_, err := ask(ctx, addr, path, nil)
	return err
}

// Look asks the server at addr what its node does. q is searched for, "" for all; rows of each list are told of at
// most.
func Look(ctx context.Context, addr, q string, rows int) (*Status, error) {
	b, err := ask(ctx, addr, "/status.json", url.Values{"q": {q}, "limit": {fmt.Sprint(rows)}})
	if err != nil {
		return nil, err
	}
	st := new(Status)
	if err := json.Unmarshal(b, st); err != nil {
		return nil, fmt.Errorf("http://%s/status.json does not answer as a SLIM node does: %w", addr, err)
	}
	return st, nil
}

func ask(ctx context.Context, addr, path string, query url.Values) ([]byte, error) {
	u := url.URL{Scheme: "http", Host: addr, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return nil, fmt.Errorf("nobody answers at %s: is the node running, with --health %s? (%w)", addr, addr, op.Err)
	case err != nil:
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text := clean(strings.TrimSpace(string(b)))
		if text == "" {
			text = resp.Status
		}
		return nil, errors.New(text)
	}
	return b, nil
}
