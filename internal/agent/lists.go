package agent

import (
	"context"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// Bounds of lists (P-ctl-8).
const (
	listPart   = 100     // entries of a message, as upstream
	maxHolders = 1 << 10 // connections of one name that are listed
	listLimit  = 10 * time.Second
)

var connectionTypes = map[table.Kind]controllerpb.ConnectionType{
	table.Local: controllerpb.ConnectionType_CONNECTION_TYPE_LOCAL, table.Remote: controllerpb.ConnectionType_CONNECTION_TYPE_REMOTE,
	table.Peer: controllerpb.ConnectionType_CONNECTION_TYPE_PEER, table.Edge: controllerpb.ConnectionType_CONNECTION_TYPE_EDGE,
}

// clientConfig is what is told of how a link is dialled: where to, and nothing of what it shows.
func clientConfig(endpoint, linkID string, k table.Kind) string {
	b, _ := json.Marshal(struct {
		Endpoint string `json:"endpoint"`
		LinkID   string `json:"link_id"`
		Kind     string `json:"connection_type"`
	}{endpoint, linkID, k.String()})
	return string(b)
}

// optional is a text that may be left out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return proto.String(s)
}

func direction(dials bool) controllerpb.ConnectionDirection {
	if dials {
		return controllerpb.ConnectionDirection_CONNECTION_DIRECTION_OUTGOING
	}
	return controllerpb.ConnectionDirection_CONNECTION_DIRECTION_INCOMING
}

// holderEntry is a connection that holds a name. One of an app in the process is outgoing there, as upstream.
func holderEntry(h *router.Holder) *controllerpb.ConnectionEntry {
	e := &controllerpb.ConnectionEntry{Id: h.Conn, ConnectionType: connectionTypes[h.Kind], ConfigData: "{}"}
	if h.Kind == table.Local {
		return e
	}
	e.LinkId, e.PeerNodeId, e.Direction = optional(h.LinkID), optional(h.Node), direction(h.Dials)
	if h.Dials {
		e.ConfigData = clientConfig(h.Endpoint, h.LinkID, h.Kind)
	}
	return e
}

// listRoutes answers a RouteListRequest.
func (s *stream) listRoutes(id string) error {
	part := &controllerpb.RouteListResponse{OriginalMessageId: id}
	var err error
	give := func(done bool) bool {
		part.Done = done
		err = s.send(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RouteListResponse{RouteListResponse: part}})
		part = &controllerpb.RouteListResponse{OriginalMessageId: id}
		return err == nil
	}
	s.agent.node.Routes(maxHolders, func(r *router.Route) bool {
		if len(part.Entries) == listPart && !give(false) {
			return false
		}
		e := &controllerpb.RouteEntry{Name: nameFor(r.Name)}
		for i := range r.Holders {
			e.Connections = append(e.Connections, holderEntry(&r.Holders[i]))
		}
		part.Entries = append(part.Entries, e)
		return true
	})
	if err == nil {
		give(true)
	}
	return err
}

// entries are the connections of the node. Those that have not negotiated are left out: they are nothing yet.
func (a *Agent) entries(ctx context.Context) (all []*controllerpb.ConnectionEntry, err error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	conns, err := a.node.Connections(ctx, 0)
	if err != nil {
		return nil, err
	}
	endpoints := map[string]string{}
	for _, l := range a.node.Links() {
		endpoints[l.ID] = l.Endpoint
	}
	for i := range conns {
		c := &conns[i]
		if c.State != "active" {
			continue
		}
		e := &controllerpb.ConnectionEntry{Id: c.ID, ConnectionType: connectionTypes[c.Kind], ConfigData: "{}",
			LinkId: optional(c.LinkID), Direction: direction(c.Dials), PeerNodeId: optional(c.Node)}
		if c.Dials {
			e.ConfigData = clientConfig(endpoints[c.LinkID], c.LinkID, c.Kind)
		}
		all = append(all, e)
	}
	return all, nil
}

// ownEntry stands for the agent, which upstream's node has as a connection of its own: the first one.
func ownEntry() *controllerpb.ConnectionEntry {
	return &controllerpb.ConnectionEntry{ConnectionType: connectionTypes[table.Local], ConfigData: "{}", Direction: direction(false)}
}

// listConnections answers a ConnectionListRequest.
func (s *stream) listConnections(id string) error {
	all, err := s.agent.entries(s.channel.Context())
	if err != nil {
		return err
	}
	all = append([]*controllerpb.ConnectionEntry{ownEntry()}, all...)
	for {
		n := min(len(all), listPart)
		m := &controllerpb.ConnectionListResponse{OriginalMessageId: id, Entries: all[:n], Done: n == len(all)}
		err := s.send(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_ConnectionListResponse{ConnectionListResponse: m}})
		if all = all[n:]; err != nil || m.Done {
			return err
		}
	}
}
