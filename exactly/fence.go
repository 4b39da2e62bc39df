package exactly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fenceTimeout bounds the fencing of one dead member.
const fenceTimeout = 10 * time.Second

// transactionalID is the id of a member's transactions. No instance holds a '/',
// so that an id belongs to one group.
func transactionalID(group, instance string) string { return group + "/" + instance }

// fenceAbsent aborts the transactions of members that are not in the group any
// more. A member that was killed leaves one open, and whoever reads its outputs
// waits for the broker to time it out. To ask for the producer id of its
// transactional id ends it at once, and a member that was only paused is fenced:
// its commit would be refused anyway.
//
// Whatever keeps this from working (a right that is missing, say) only means to
// wait for that timeout.
func (m *member) fenceAbsent(ctx context.Context, group string) {
	log := m.a.cfg.Log
	absent, err := m.absent(ctx, group)
	if err != nil {
		log.Warn("could not look for transactions of dead members, they have to time out", slog.String("group", group), slog.Any("error", err))
		return
	}
	for _, instance := range absent {
		id := transactionalID(group, instance)
		if err := abortTransaction(ctx, m.a.client, id); err != nil {
			log.Warn("could not end the transaction of a dead member, it has to time out", slog.String("transactional_id", id), slog.Any("error", err))
			continue
		}
		log.Info("ended the transaction of a dead member", slog.String("transactional_id", id))
	}
}

// absent lists the instances that have an open transaction and are not in the
// group. Transactions are listed first: one that was open then belonged to a
// member, which is gone if the group does not know it afterwards.
func (m *member) absent(ctx context.Context, group string) ([]string, error) {
	prefix := transactionalID(group, "")
	open, err := m.a.admin.ListTransactionsByTxPattern(ctx, nil, []string{"Ongoing"}, regexp.QuoteMeta(prefix)+".*")
	if err != nil {
		return nil, fmt.Errorf("exactly: list open transactions: %w", err)
	}
	var instances []string
	for id, t := range open {
		instance, ours := strings.CutPrefix(id, prefix)
		if ours && t.State == "Ongoing" && instancePattern.MatchString(instance) && instance != m.a.cfg.Instance {
			instances = append(instances, instance)
		}
	}
	if len(instances) == 0 {
		return nil, nil
	}
	described, err := m.a.admin.DescribeGroups(ctx, group)
	if err == nil {
		err = described[group].Err
	}
	if err != nil {
		return nil, fmt.Errorf("exactly: describe group %s: %w", group, err)
	}
	present := map[string]bool{}
	for _, other := range described[group].Members {
		if other.InstanceID != nil {
			present[*other.InstanceID] = true
		}
	}
	var absent []string
	for _, instance := range instances {
		if !present[instance] {
			absent = append(absent, instance)
		}
	}
	return absent, nil
}

// abortTransaction ends whatever transaction is open under an id.
func abortTransaction(ctx context.Context, client *kgo.Client, id string) error {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	request := kmsg.NewPtrInitProducerIDRequest()
	request.TransactionalID, request.TransactionTimeoutMillis = &id, int32(fenceTimeout.Milliseconds())
	request.ProducerID, request.ProducerEpoch = -1, -1
	for {
		response, err := request.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(response.ErrorCode)
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) { // It is being ended.
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
