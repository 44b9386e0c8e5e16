package a2aslim

import (
	"context"
	"errors"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2asrv"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// ServerOptions of Register. The zero value is fit for use.
type ServerOptions struct {
	// Card is what callers of A2A 0.3 get who ask for the agent's card, unless the handler has an extended one for them; nil: they get
	// a2a.ErrAuthenticatedExtendedCardNotConfigured then, as callers of 1.0 do, which knows no other card than the extended one here. It is
	// not to be changed any more.
	Card *a2a.AgentCard
}

// Register makes h serve the methods of A2A, for callers of 1.0 and of 0.3, by r, an *rpc.Server. Calls run beside each other, and each has
// an a2asrv.CallContext: what its caller has said beside the request is the RequestMeta, the tenant of 1.0 among it as "tenant", and User is
// the subject of the caller's token, which the encryption of the session has verified.
func Register(r rpc.Registrar, h a2asrv.RequestHandler, o ServerOptions) {
	for version, p := range map[Version]*protocol{V1: protocol1, V03: protocol03} {
		p.send.serve(r, h.OnSendMessage)
		p.sendStream.serve(r, h.OnSendMessageStream)
		p.get.serve(r, h.OnGetTask)
		p.cancel.serve(r, h.OnCancelTask)
		p.subscribe.serve(r, h.OnResubscribeToTask)
		p.setPush.serve(r, h.OnSetTaskPushConfig)
		p.getPush.serve(r, h.OnGetTaskPushConfig)
		p.listPush.serve(r, h.OnListTaskPushConfig)
		p.deletePush.serve(r, func(ctx context.Context, params *a2a.DeleteTaskPushConfigParams) (*nothing, error) {
			return new(nothing), h.OnDeleteTaskPushConfig(ctx, params)
		})
		p.card.serve(r, func(ctx context.Context, _ *nothing) (*a2a.AgentCard, error) {
			card, err := h.OnGetExtendedAgentCard(ctx)
			if version == V03 && o.Card != nil && errors.Is(err, a2a.ErrAuthenticatedExtendedCardNotConfigured) {
				return o.Card, nil
			}
			return card, err
		})
	}
	refuseList(r)
}
