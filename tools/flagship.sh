#!/bin/sh
# Trains the model that ships, from data to bundle: three trainings on one another, seeded, then calibration and int8.
#
#     sh tools/flagship.sh data/fer2013
#
# Stopped or killed, the same command goes on after the last epoch; what is finished is not done again. Further words
# are given to every training: `sh tools/flagship.sh data/fer2013 --threads 1`. Runs go into runs/, bundles into
# bundles/ of the folder where it is called.
set -eu
data=${1:?"usage: sh tools/flagship.sh DATA [WORDS FOR fer-edge train]"}
shift

stage() {
    run=$1 recipe=$2
    shift 2
    if [ -e "runs/$run/recipe.json" ]; then recipe=--resume; fi
    # shellcheck disable=SC2086  # a recipe is several words
    fer-edge train --data "$data" $recipe --out "runs/$run" "$@"
}

# From nothing: most epochs on faces of 32 px, then at 48.
stage flagship "--recipe flagship" "$@"
# Again from a high rate, half of the faces with a sensor's noise: no better, far less harmed by it.
stage flagship-2 "--recipe flagship --start runs/flagship --epochs 20 --learning-rate 0.03 --set fall_epochs=14
    --set warmup_epochs=1 --set small_epochs=0 --set noise=0.05" "$@"
# From the mean of both at a low rate, with the copies of test images in Training, too.
stage flagship-3 "--recipe flagship --start runs/flagship,runs/flagship-2 --epochs 16 --schedule cosine
    --learning-rate 0.01 --set warmup_epochs=0 --set small_epochs=0 --set noise=0.05 --set validation=apart
    --seed 1" "$@"

[ -e calibration.json ] || fer-edge calibrate --data "$data" --count 512 --seed 0 --out calibration.json
[ -e bundles/flagship/bundle.json ] ||
    fer-edge convert runs/flagship-3 --int8 --calibration calibration.json --out bundles/flagship
