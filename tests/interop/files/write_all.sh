#!/bin/sh
# Writes all stored files anew. Each environment is a folder of $1, made with the Python and the packages that its
# comment names. No CPU computes alike: the last digits of outputs may differ between machines.
set -e
cd "$(dirname "$0")"
run() { environment=$1; shift; "$ENVIRONMENTS/$environment/bin/python" -W ignore "$@"; }
ENVIRONMENTS=$1

# keras1: Python 3.7, keras==1.2.2 tensorflow==1.15.5 "h5py<3" "protobuf<3.21" "numpy<1.19"
run keras1 keras_1.py keras

# keras208: Python 3.7, keras==2.0.8 tensorflow==1.13.1 "h5py<3" "protobuf<3.21" "numpy<1.19" pyyaml
run keras208 compiled.py keras adam rmsprop nadam sgd several_outputs
run keras208 encoder_decoder.py keras seq2seq_lstm
run keras208 layers.py tensorflow.keras cells
run keras208 cudnn.py tensorflow.keras cudnn_stack

# keras215: Python 3.7, keras==2.1.5 tensorflow==1.14.0 "h5py<3" "protobuf<3.21" "numpy<1.19" pyyaml
run keras215 cudnn.py keras cudnn_stack cudnn_bidirectional cudnn_weights

# keras224: Python 3.7, keras==2.2.4 tensorflow==1.15.5 "h5py<3" "protobuf<3.21" "numpy<1.19"
run keras224 compiled.py keras
run keras224 cudnn.py keras
run keras224 encoder_decoder.py keras seq2seq_lstm seq2seq_gru seq2seq_nested seq2seq_bidirectional seq2seq_shared \
    seq2seq_repeat seq2seq_luong seq2seq_stacked seq2seq_constants own_cell given_state
run keras224 layers.py keras defaults options stateful conv_lstm cells convolutions masked time_distributed \
    bidirectional mixture nested lambdas
run keras224 own_layers.py keras
run keras224 pairs.py keras

# keras231: Python 3.7, keras==2.3.1 tensorflow==1.15.5 "h5py<3" "protobuf<3.21" "numpy<1.19"
run keras231 compiled.py keras adam nadam rmsprop several_outputs clipped
run keras231 encoder_decoder.py keras seq2seq_lstm seq2seq_stacked
run keras231 compiled.py tensorflow.keras adam nadam sgd clipped own_loss
run keras231 cudnn.py tensorflow.keras cudnn_stack cudnn_bidirectional cudnn_states cudnn_nested cudnn_weights
run keras231 encoder_decoder.py tensorflow.keras seq2seq_lstm seq2seq_gru seq2seq_nested seq2seq_bidirectional \
    seq2seq_shared seq2seq_repeat seq2seq_luong seq2seq_stacked seq2seq_constants own_cell given_state
run keras231 layers.py tensorflow.keras cells defaults conv_lstm time_distributed time_major

# tensorflow23: Python 3.8, tensorflow-cpu==2.3.4 "protobuf<3.21"
run tensorflow23 compiled.py tensorflow.keras adam rmsprop several_outputs
run tensorflow23 compiled_later.py tensorflow.keras
run tensorflow23 pairs.py tensorflow.keras

# tensorflow211: Python 3.8, tensorflow-cpu==2.11.1
run tensorflow211 encoder_decoder.py tensorflow.keras
run tensorflow211 saved_model.py tensorflow.keras
run tensorflow211 layers.py tensorflow.keras attention conv_lstms cells convolutions time_major
run tensorflow211 compiled.py tensorflow.keras adam amsgrad
run tensorflow211 own_layers.py tensorflow.keras own_attention

# tf_keras: Python 3.11, tensorflow-cpu==2.19.0 tf_keras==2.19.0
run tf_keras encoder_decoder.py tf_keras seq2seq_lstm seq2seq_gru seq2seq_nested seq2seq_bidirectional \
    seq2seq_shared seq2seq_stacked
run tf_keras pairs.py tf_keras
run tf_keras layers.py tf_keras lambdas attention
run tf_keras compiled_later.py tf_keras

# keras38 and keras315: Python 3.11, tensorflow-cpu==2.19.0 and keras==3.8.0 or keras==3.15.1
run keras38 keras_3.py keras compiled_mse compiled_schedule lambdas seq2seq pair
run keras315 keras_3.py keras
