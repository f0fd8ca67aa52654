"""Speech Commands, all 35 words, with DS-CNN: MLPerf Tiny's keyword spotter at half its MACs.

MLPerf Tiny tells ten words, unknown and silence apart, from MFCCs; here it is all 35 words, from log-mel.

Time: 1 h on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="speech_commands_dscnn",
    data=Data(name="speech_commands", validation=0.1),
    frontend=LogMel.dscnn(),
    model=Model(name="dscnn"),
    train=Train(epochs=36, batch_size=128, lr=2e-3, mixup=0.0, time_mask=5),
    prune=Prune(criterion="operator_norm"),
    budget=Budget(macs=1_329_000),
    finetune=Train(epochs=15, batch_size=128, lr=1e-3, mixup=0.0, time_mask=5, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()
