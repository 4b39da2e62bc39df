package exactly

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The errors that a broker may answer a transaction's requests with and that a
// new transaction, or a new producer, heals. KIP-1050 groups them.
var healing = map[string]struct {
	key   int16
	codes []*kerr.Error
}{
	"Produce": {0, []*kerr.Error{
		kerr.TransactionAbortable, kerr.InvalidTxnState, kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.OutOfOrderSequenceNumber,
		kerr.UnknownProducerID, kerr.InvalidProducerIDMapping, kerr.ConcurrentTransactions, kerr.NotLeaderForPartition, kerr.NotEnoughReplicas,
		kerr.RequestTimedOut, kerr.KafkaStorageError, kerr.CoordinatorLoadInProgress,
	}},
	"InitProducerID": {22, []*kerr.Error{
		kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.ConcurrentTransactions,
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.RequestTimedOut,
	}},
	"EndTxn": {26, []*kerr.Error{
		kerr.TransactionAbortable, kerr.InvalidTxnState, kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidProducerIDMapping,
		kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.UnknownServerError,
	}},
	"TxnOffsetCommit": {28, []*kerr.Error{
		kerr.TransactionAbortable, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.CoordinatorLoadInProgress,
		kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.ConcurrentTransactions, kerr.UnknownServerError, kerr.InvalidTxnState,
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.UnknownTopicOrPartition,
	}},
	"JoinGroup":   {11, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.UnknownMemberID}},
	"Heartbeat":   {12, []*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.NotCoordinator}},
	"OffsetFetch": {9, []*kerr.Error{kerr.UnstableOffsetCommit, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator}},
}

// answer makes the answer that says code to everything that was asked.
func answer(t testing.TB, request kmsg.Request, code int16) kmsg.Response {
	response := request.ResponseKind()
	switch r := request.(type) {
	case *kmsg.ProduceRequest:
		for _, topic := range r.Topics {
			out := kmsg.NewProduceResponseTopic()
			out.Topic, out.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, code
				out.Partitions = append(out.Partitions, partition)
			}
			response.(*kmsg.ProduceResponse).Topics = append(response.(*kmsg.ProduceResponse).Topics, out)
		}
	case *kmsg.TxnOffsetCommitRequest:
		for _, topic := range r.Topics {
			out := kmsg.NewTxnOffsetCommitResponseTopic()
			out.Topic, out.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				partition := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, code
				out.Partitions = append(out.Partitions, partition)
			}
			response.(*kmsg.TxnOffsetCommitResponse).Topics = append(response.(*kmsg.TxnOffsetCommitResponse).Topics, out)
		}
	case *kmsg.OffsetFetchRequest:
		for _, group := range r.Groups {
			out := kmsg.NewOffsetFetchResponseGroup()
			out.Group, out.ErrorCode = group.Group, code
			response.(*kmsg.OffsetFetchResponse).Groups = append(response.(*kmsg.OffsetFetchResponse).Groups, out)
		}
		response.(*kmsg.OffsetFetchResponse).ErrorCode = code
	case *kmsg.InitProducerIDRequest:
		response.(*kmsg.InitProducerIDResponse).ErrorCode = code
	case *kmsg.EndTxnRequest:
		response.(*kmsg.EndTxnResponse).ErrorCode = code
	case *kmsg.JoinGroupRequest:
		response.(*kmsg.JoinGroupResponse).ErrorCode = code
	case *kmsg.HeartbeatRequest:
		response.(*kmsg.HeartbeatResponse).ErrorCode = code
	default:
		t.Errorf("there is no answer to a %T", request)
	}
	return response
}

// Each error is answered once, in the middle of the work, and nothing is lost or
// counted twice by it.
func TestInjectedErrorsAreSurvived(t *testing.T) {
	for name, injected := range healing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			l := newLabAt(t, cluster.ListenAddrs())
			dir := t.TempDir()
			drain := l.running(l.config("a", dir), l.counting())
			sent := 0
			send := func(n int) {
				records := numbered(sent + n)[sent:]
				sent += n
				l.send(records...)
			}
			send(20)
			l.read(l.out, sent)
			for _, code := range injected.codes {
				began, met := time.Now(), new(atomic.Bool)
				cluster.ControlKey(injected.key, func(request kmsg.Request) (kmsg.Response, error, bool) {
					if r, ok := request.(*kmsg.ProduceRequest); ok && r.TransactionID == nil {
						return nil, nil, false // The test's own.
					}
					met.Store(true)
					return answer(t, request, code.Code), nil, true
				})
				if injected.key == 22 || injected.key == 11 || injected.key == 9 { // Only a start asks.
					if err := drain(); err != nil {
						t.Fatal(err)
					}
					drain = l.running(l.config("a", dir), l.counting())
				}
				send(20)
				l.await(met.Load)
				l.exact(l.read(l.out, sent), sent)
				t.Logf("%s: %v", code.Message, time.Since(began).Round(time.Millisecond))
			}
			l.table(int64(sent))
		})
	}
}

// A broker that fails each of the first requests of a kind is survived as well.
func TestErrorsInARowAreSurvived(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	l := newLabAt(t, cluster.ListenAddrs())
	var left atomic.Int32
	left.Store(15)
	for _, key := range []int16{26, 28} {
		cluster.ControlKey(key, func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			switch n := left.Add(-1); {
			case n < 0:
				return nil, nil, false
			case n%3 == 0:
				return nil, errors.New("the connection is cut"), true
			}
			return answer(t, request, kerr.TransactionAbortable.Code), nil, true
		})
	}
	l.running(l.config("a", t.TempDir()), l.counting())
	for i := range 10 {
		l.send(numbered(10 * (i + 1))[10*i:]...)
	}
	l.exact(l.read(l.out, 100), 100)
	l.table(100)
	if n := left.Load(); n >= 0 {
		t.Errorf("only %s of 15 errors were met", strconv.Itoa(15-int(n)))
	}
}
