"""Speech Commands, all 35 words, with BC-ResNet-1 at half its MACs; `--model.width 8` is BC-ResNet-8.

Another width needs another budget: BC-ResNet-8 takes 86 MMACs, BC-ResNet-1 2.5.

Time: 2 h on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="speech_commands_bcresnet",
    data=Data(name="speech_commands", validation=0.1),
    frontend=LogMel.bcresnet(),
    model=Model(name="bcresnet"),
    train=Train(epochs=60, batch_size=128, lr=3e-3, weight_decay=1e-3, mixup=0.0, freq_mask=7, time_mask=20),
    prune=Prune(criterion="operator_norm"),
    budget=Budget(macs=1_241_000),
    finetune=Train(epochs=20, batch_size=128, lr=1e-3, mixup=0.0, freq_mask=7, time_mask=20, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()
